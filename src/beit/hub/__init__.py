"""Files from the network: the Hugging Face hub, the release pages of the authors, object stores and web servers."""

from beit.hub.card import push_model
from beit.hub.dataset import HubDataset, hub_address, list_dataset, network_is_off
from beit.hub.download import fetch_url
from beit.hub.hub_errors import DISK_FULL
from beit.hub.kept import kept_copy
from beit.hub.push import push_folder, push_saved
from beit.hub.push_arguments import push_target
from beit.hub.remote import RemoteFile, RemoteFiles, is_remote, remote_matches
from beit.hub.repository import (
    HubOptions,
    file_beside,
    hub_file,
    included_folder,
    included_names,
    is_hub_name,
    is_local,
)
from beit.hub.saved_options import SavedOptions

__all__ = [
    "DISK_FULL",
    "HubDataset",
    "HubOptions",
    "RemoteFile",
    "RemoteFiles",
    "SavedOptions",
    "fetch_url",
    "file_beside",
    "hub_address",
    "hub_file",
    "included_folder",
    "included_names",
    "is_hub_name",
    "is_local",
    "is_remote",
    "kept_copy",
    "list_dataset",
    "network_is_off",
    "push_folder",
    "push_model",
    "push_saved",
    "push_target",
    "remote_matches",
]
