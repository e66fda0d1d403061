# SPDX-License-Identifier: Apache-2.0
# Every command explains itself; every option of the contract is there.
"$VITRO" --help | grep '^  [a-z]'
for command in train predict eval summary convert bench; do
    "$VITRO" $command --help >text
    echo "$command: exit $?"
    head -n 1 text
    for line in $(awk 'length($0) > 86 { print NR }' text); do echo "too long: line $line"; done
done
has() {
    command=$1
    shift
    "$VITRO" "$command" --help >text
    for option; do grep -q "^  --$option " text || echo "$command has no --$option"; done
}
model="model-name weights img-size patch-size in-channels num-classes embed-dim depth num-heads
    mlp-ratio qkv-bias qk-scale has-logits representation-size drop-ratio attn-drop-ratio
    drop-path-ratio patch-norm norm-eps act init-values global-pool pool-include-prefix class-token
    reg-tokens no-embed-class distilled pre-norm final-norm fc-norm qk-norm proj-bias patch-pre-norm
    device threads"
transform="transform mean std interpolation crop-pct exif precision seed"
has predict $model $transform class-indices top-k plot json logits batch-size dump-input
has eval $model $transform data-path dataset split json confusion batch-size
has convert list dtype names class-indices key-map num-heads mean
has bench $model batch-size precision train freeze-layers seconds profile json
has summary $model batch-size freeze-layers list json attention dim heads tokens proj
has train $model $transform data-path dataset download download-url epochs batch-size lr lrf freeze-layers
"$VITRO" predict --weights nowhere.pth a.ppm --help | head -n 1
