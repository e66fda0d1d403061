# SPDX-License-Identifier: Apache-2.0
# --download: a CIFAR-10 of a few pictures from a server that cuts every 64 KiB.
"$VITRO" --version | grep -Eq 'lib(curl|archive) none' && echo "this build cannot download" && exit 77
set=cifar-10-batches-py
mkdir site $set
for name in data_batch_1 data_batch_2 data_batch_3 data_batch_4 data_batch_5 test_batch; do
    cp "$GOLDEN/data/cifar10_batch_p4.pkl" $set/$name
done
cp "$GOLDEN/data/cifar10_meta_p2.pkl" $set/batches.meta
head -c 300000 /dev/urandom >$set/readme.html
tar czf site/set.tar.gz $set
rm -r $set cifar-10-batches-bin
MD5=$(md5sum site/set.tar.gz | cut -d ' ' -f 1)
WRONG=$(md5sum cifar.pth | cut -d ' ' -f 1)
export MD5 WRONG
# Neither the port nor times, sizes and sums are the same each time.
even() { sed -E 's|127.0.0.1:[0-9]+|HOST|; s/[0-9a-f]{32}/MD5/g; s/100%.*/100%/'; }
get() { # url md5 more...
    url=$1 md5=$2
    shift 2
    echo "\$ eval $*"
    "$SERVE" site sh -c '"$VITRO" eval --weights cifar.pth --download true --dataset cifar10 \
        --download-url "$URL/$0" --download-md5 "$@"' "$url" "$md5" "$@" 2>&1 |
        grep -Ev '^(\[eval\]|loss|top|speed|class|[a-z]+ .*[0-9]$|$)' | even
}
get set.tar.gz $WRONG --data-path wrong/data
ls -d wrong
get none.tar.gz $MD5 --data-path none
ls -d none
get set.tar.gz $MD5 --data-path new/data
ls -A new/data new/data/$set
echo "again, without a server:"
"$VITRO" eval --weights cifar.pth --download true --data-path new/data 2>&1 | grep ^data
"$VITRO" train --download true --data-path new/data --model-name vit_tiny_patch4_32 --embed-dim 16 \
    --depth 1 --num-heads 1 --epochs 1 --max-steps 1 --log-dir log 2>&1 | grep '^CIFAR'
try eval --weights cifar.pth --data-path new --download-url http://127.0.0.1/
try train --data-path new --download-md5 $MD5 | even
try train --data-path new --download true --dataset folder
try train --data-path new --download true --dataset mnist --download-md5 $MD5 | even
try train --data-path new --download true --dataset cifar100 --download-url file:///etc/passwd
ls -A new
