# SPDX-License-Identifier: Apache-2.0
small="--model-name vit_tiny_patch4_28 --embed-dim 16 --depth 1 --num-heads 2 --seconds 0.01"
"$VITRO" bench $small --threads 1 --batch-size 1,3 --json >line
echo "exit $?"
"$JSON_LINES" <line
hide_numbers <line | sed -E 's/.*"peak_gflops": \{"fp32"/"peak_gflops": {"fp32"/; s/("runs": )[0-9]+/\1N/g'
# A share is the result's own rate by its own peak, which lies between the worst and the best.
sed 's/}, {/\n/g' line | awk '{
    for (i = 1; i < NF; i++) {
        key = $i
        gsub(/["{:]/, "", key)
        v[key] = $(i + 1) + 0
    }
    q = v["gflops"] / v["peak_gflops"] / v["efficiency"]
    print (q > 0.9999 && q < 1.0001 ? "share" : "no share"),
        (v["peak_gflops"] <= v["peak_best_gflops"] ? "best" : "not best"),
        (v["ms_min"] <= v["ms"] ? "fastest" : "not fastest"), (v["runs"] >= 5 ? "5 runs" : "few")
}'
"$VITRO" bench $small --train --batch-size 2 --threads 1 --json | "$JSON_LINES"
"$VITRO" bench $small --train --freeze-layers true --batch-size 2 | tail -n 1 |
    awk '{ print $1, $2, $3, NF }'
"$VITRO" bench --weights model.pth --seconds 0 --batch-size 1 | grep -c infer

# By operator: each run's calls, and shares that add up to the whole run.
"$VITRO" bench $small --profile --train --batch-size 2 --threads 1 --json >profile
"$JSON_LINES" <profile
sed 's/.*"profile": \[{//; s/}, {/\n/g' profile | awk -F'"' '
    { split($0, part, /"share": |, "gflops"/); sum += part[2] }
    /"gflops": null/ { without++ }
    /linear_backward|"host"|cross_entropy|"sgd"/ {
        split($0, part, /"calls": |, "ms"/)
        print $4, $8, part[2]
    }
    END { print (sum > 0.999 && sum < 1.001 ? "shares add up" : "shares: " sum) }' | sort
"$VITRO" bench $small --profile --batch-size 1 --threads 1 | sed -n '/one run/,$p' |
    awk '$1 == "linear" || $1 == "all" || $1 == "operator" { print $1, NF }' | sort

# What one precision fails at does not stop the others, and is told.
"$VITRO" bench $small --backend ref --threads 1 --batch-size 1 --precision fp32,bf16 --json \
    >line 2>errors
echo "exit $?"
grep -c '^vitro: error: .*bf16' errors
hide_numbers <line | sed -E 's/.*"peak_gflops": \{"fp32"/"peak_gflops": {"fp32"/; s/("runs": )[0-9]+/\1N/'
"$VITRO" bench $small --backend ref --precision bf16 2>errors
echo "exit $?"
try bench $small --train --precision fp32,int8
exit 0
