"""The official files: names, addresses, sizes and md5 sums, and where each fact is from.

A fact that was not found is None or empty, and the command says so. None of these files was downloaded for
this table: sizes and sums are as others have published them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Archive:
    """One official file.

    Attributes:
        name: File name.
        url: Where it is published.
        source: Where size and md5 are from.
        size: Bytes; None if unknown.
        md5: Hexadecimal sums of the file, more than one where several are in circulation; empty if unknown.
        certain: False if other files of this name are good as well: another md5 or size is a warning then.
        login: Whether the address asks for an account, so that it cannot be downloaded by a program.
    """

    name: str
    url: str
    source: str
    size: int | None = None
    md5: tuple[str, ...] = ()
    certain: bool = True
    login: bool = False


VOC2012 = Archive(
    "VOCtrainval_11-May-2012.tar",
    "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
    "md5: torchvision.datasets.VOCDetection; size: logs of downloads",
    1_999_639_040,
    ("6cd6e144f989b92b3379bac3b3de84fd",),
)
SBD = Archive(
    "benchmark.tgz",
    "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
    "md5: torchvision.datasets.SBDataset; size: a log of its download",
    1_419_539_633,
    ("82b4d87ceb2ed10f6038a1cba92111cb",),
)
VOC2010 = Archive(
    "VOCtrainval_03-May-2010.tar",
    "http://host.robots.ox.ac.uk/pascal/VOC/voc2010/VOCtrainval_03-May-2010.tar",
    "md5: torchvision.datasets.VOCDetection; size: a copy on the Hugging Face hub (VOC's page: 1.3 GB)",
    1_345_040_896,
    ("da459979d0c395079b5c75ee67908abb",),
)
CONTEXT = Archive(
    "trainval_merged.json",
    "https://codalabuser.blob.core.windows.net/public/trainval_merged.json",
    "md5: PyTorch-Encoding (PASCAL in Detail); size: not found",
    None,
    ("3c2d0c0656b7be9eb61928ffe885d8ce",),
)
COCO_TRAIN2014 = Archive(
    "train2014.zip",
    "http://images.cocodataset.org/zips/train2014.zip",
    "md5: the first in LAVIS, the second in an R loader of COCO; size: logs of downloads",
    13_510_573_713,
    ("0da8c0bd3d6becc4dcb32757491aca88", "0da8cfa0e090c266b78f30e2d2874f1a"),
    certain=False,
)
COCO_VAL2014 = Archive(
    "val2014.zip",
    "http://images.cocodataset.org/zips/val2014.zip",
    "md5: LAVIS; size: logs of downloads",
    6_645_013_297,
    ("a3d79f5ed8d289b7a7554ce06a5782b3",),
)
COCO_ANNOTATIONS2014 = Archive(
    "annotations_trainval2014.zip",
    "http://images.cocodataset.org/annotations/annotations_trainval2014.zip",
    "md5: the server's ETag; size: logs of downloads",
    252_872_794,
    ("0a379cfc70b0e71301e0f377548639bd",),
)
COCO_VAL2017 = Archive(
    "val2017.zip",
    "http://images.cocodataset.org/zips/val2017.zip",
    "md5: several repositories agree; size: logs of downloads",
    815_585_330,
    ("442b8da7639aecaf257c1dceb8ba8c80",),
)
COCO_STUFF = Archive(
    "stuffthingmaps_trainval2017.zip",
    "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/stuffthingmaps_trainval2017.zip",
    "address: nightrome/cocostuff; md5 and size: not found",
)
ADE20K = Archive(
    "ADEChallengeData2016.zip",
    "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
    "md5: PyTorch-Encoding; size: a listing of a copy",
    967_382_037,
    ("7328b3957e407ddae1d3cbf487f149ef",),
)
CITYSCAPES_IMAGES = Archive(
    "leftImg8bit_trainvaltest.zip",
    "https://www.cityscapes-dataset.com/file-handling/?packageID=3",
    "md5: the list of the download page, in several repositories; size: listings of copies",
    11_592_327_197,
    ("0a6e97e94b616a514066c9e2adb0c97f",),
    login=True,
)
CITYSCAPES_MASKS = Archive(
    "gtFine_trainvaltest.zip",
    "https://www.cityscapes-dataset.com/file-handling/?packageID=1",
    "md5: the list of the download page, in several repositories; size: listings of copies",
    252_567_705,
    ("4237c19de34c8a376e9ba46b495d6f66",),
    login=True,
)
