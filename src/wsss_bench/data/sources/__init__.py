"""Data sources: the data sets of the benchmark, and layouts for data of one's own.

`base.py` is the interface of all sources (`Source`); docs/data.md shows what each layout holds.

`from wsss_bench.data.sources import VOC` imports one; this package alone imports none of them.
"""

from typing import TYPE_CHECKING

from wsss_bench.short_names import lazy_classes

if TYPE_CHECKING:
    from wsss_bench.data.sources.base import Source as Source
    from wsss_bench.data.sources.captions import CaptionTable as CaptionTable
    from wsss_bench.data.sources.coco import COCO as COCO
    from wsss_bench.data.sources.combined import CombinedSource as CombinedSource
    from wsss_bench.data.sources.context import PascalContext as PascalContext
    from wsss_bench.data.sources.folder import Folder as Folder
    from wsss_bench.data.sources.openvocab import ADE20K as ADE20K
    from wsss_bench.data.sources.openvocab import CamVid as CamVid
    from wsss_bench.data.sources.openvocab import Cityscapes as Cityscapes
    from wsss_bench.data.sources.openvocab import COCOObject as COCOObject
    from wsss_bench.data.sources.openvocab import COCOStuff as COCOStuff
    from wsss_bench.data.sources.voc import VOC as VOC
    from wsss_bench.data.sources.webdataset import WebDataset as WebDataset

__getattr__, __dir__, __all__ = lazy_classes(__name__)
