"""What people send that is no data set, by a name's ending: what it is, and what to send instead."""

from __future__ import annotations

_SHEET = "a spreadsheet", "save the sheet as CSV (UTF-8)"
_PICKLE = "a pickle, which may run anything", "save weights as safetensors, arrays as NPY or NPZ"
_SOUND = "a sound", "send a zip of WAV files, a folder a class; or samples, a list a row in JSON lines"
_VIDEO = "a video", "send clips as one array in NPZ: (clips, frames, height, width, channels)"
OTHERS = {
    **dict.fromkeys(("xlsx", "xlsm", "xls", "ods", "numbers"), _SHEET),
    **dict.fromkeys(("pkl", "pickle", "pt", "pth", "joblib"), _PICKLE),
    **dict.fromkeys(("png", "jpg", "jpeg", "gif", "webp"), ("one picture", "send a zip of pictures, a folder a class")),
    **dict.fromkeys(("wav", "mp3", "flac", "ogg", "aiff", "m4a"), _SOUND),
    **dict.fromkeys(("mp4", "avi", "mov", "mkv", "webm"), _VIDEO),
    "onnx": ("a model, not data", "POST /v1/runs/import takes it"),
}
