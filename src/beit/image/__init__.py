"""Image processing and post-processing, with Pillow and numpy only."""

from beit.image.band_reading import ARRAYS, endings_of
from beit.image.bands import COLOURS, AnyPicture, BandOptions, Bands, Box, as_rgb
from beit.image.batch import BatchFeature
from beit.image.depth import is_deep, nodata_in
from beit.image.formats import EXTENSIONS, MOST_BYTES, opened_picture
from beit.image.labels import IGNORED, check_opacity, check_plain, deep_numbers
from beit.image.large import allow_pixels
from beit.image.lazy_picture import (
    Decoded,
    Jpeg2000Picture,
    JpegPicture,
    LazyPicture,
    LoadedPicture,
    open_image,
    read_image,
    read_picture,
    reduces,
)
from beit.image.listing import (
    PACKED,
    FolderState,
    PassedOver,
    folder_state,
    no_pictures,
    picture_files,
    pictures_in,
    say_passed_over,
    visible_folders,
    walk_pictures,
)
from beit.image.preprocessing import Preprocessing
from beit.image.processor import BeitFeatureExtractor, BeitImageProcessor
from beit.image.reading import explained, is_several, orientation_of
from beit.image.steps import HALF, columns_first, normalise, to_unit_array
from beit.image.tiff import bands_beyond_pillow

AutoImageProcessor = BeitImageProcessor  # the names that the published examples use
AutoFeatureExtractor = BeitFeatureExtractor
BeitImageProcessorFast = BeitImageProcessorPil = BeitImageProcessor  # those of transformers 5

__all__ = [
    "ARRAYS",
    "COLOURS",
    "EXTENSIONS",
    "HALF",
    "IGNORED",
    "MOST_BYTES",
    "PACKED",
    "AnyPicture",
    "AutoFeatureExtractor",
    "AutoImageProcessor",
    "BandOptions",
    "Bands",
    "BatchFeature",
    "BeitFeatureExtractor",
    "BeitImageProcessor",
    "BeitImageProcessorFast",
    "BeitImageProcessorPil",
    "Box",
    "Decoded",
    "FolderState",
    "Jpeg2000Picture",
    "JpegPicture",
    "LazyPicture",
    "LoadedPicture",
    "PassedOver",
    "Preprocessing",
    "allow_pixels",
    "as_rgb",
    "bands_beyond_pillow",
    "check_opacity",
    "check_plain",
    "columns_first",
    "deep_numbers",
    "endings_of",
    "explained",
    "folder_state",
    "is_deep",
    "is_several",
    "no_pictures",
    "nodata_in",
    "normalise",
    "open_image",
    "opened_picture",
    "orientation_of",
    "picture_files",
    "pictures_in",
    "read_image",
    "read_picture",
    "reduces",
    "say_passed_over",
    "to_unit_array",
    "visible_folders",
    "walk_pictures",
]
