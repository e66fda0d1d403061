/* SPDX-License-Identifier: Apache-2.0 */
/* The published data sets: addresses and MD5 sums as torchvision 0.14 has them (datasets/cifar.py,
 * datasets/mnist.py). MNIST comes from torchvision's mirror, since its first home asks for a
 * password these days. */
#include "data/download.h"

#include <stddef.h>

static const VitroDownloadSet sets[] = {
    {.kind = VITRO_DATA_CIFAR100,
     .base = "https://www.cs.toronto.edu/~kriz/",
     .dir = "cifar-100-python",
     .part = "cifar-100.part",
     .files = {{"cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"}},
     .members = {{"train", "16019d7e3df5f24257cddd939b257f8d"},
                 {"test", "f0ef6b0ae62326f3e7ffdfab6717acfc"},
                 {"meta", "7973b15100ade9c7d40fb424638fde48"},
                 {"file.txt~", NULL}},
     .max_bytes = 256 << 20},
    {.kind = VITRO_DATA_CIFAR10,
     .base = "https://www.cs.toronto.edu/~kriz/",
     .dir = "cifar-10-batches-py",
     .part = "cifar-10.part",
     .files = {{"cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"}},
     .members = {{"data_batch_1", "c99cafc152244af753f735de768cd75f"},
                 {"data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"},
                 {"data_batch_3", "54ebc095f3ab1f0389bbae665268c751"},
                 {"data_batch_4", "634d18415352ddfa80567beed471001a"},
                 {"data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"},
                 {"test_batch", "40351d587109b95175f43aff81a1287e"},
                 {"batches.meta", "5ff9c542aee3614f3951f8cda6e48888"},
                 {"readme.html", NULL}},
     .max_bytes = 256 << 20},
    {.kind = VITRO_DATA_MNIST,
     .base = "https://ossci-datasets.s3.amazonaws.com/mnist/",
     .dir = "MNIST/raw",
     .part = "mnist.part",
     .files = {{"train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"},
               {"train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"},
               {"t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"},
               {"t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"}},
     .max_bytes = 64 << 20},
    {.kind = VITRO_DATA_FASHION_MNIST,
     .base = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
     .dir = "FashionMNIST/raw",
     .part = "fashion-mnist.part",
     .files = {{"train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"},
               {"train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"},
               {"t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"},
               {"t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"}},
     .max_bytes = 64 << 20},
};

const VitroDownloadSet *vitro_download_set(VitroDatasetKind kind)
{
    if (kind == VITRO_DATA_AUTO)
        kind = VITRO_DATA_CIFAR100; /* what the original fetches */
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
        if (sets[i].kind == kind)
            return &sets[i];
    return NULL;
}
