"""`beit models`."""

from beit.catalog import PUBLIC_CHECKPOINTS, RELATED_CHECKPOINTS
from beit.cli.main import main
from beit.hub import included_names


def test_models_lists_every_checkpoint_under_every_name(capsys):
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.split("\n")
    for known in PUBLIC_CHECKPOINTS:
        for name in (f"{known.original}.pth", known.hub, known.timm):
            assert name is None or f"    {name}" in lines
    assert len(PUBLIC_CHECKPOINTS) == 25
    ade = lines[lines.index("    beit_large_patch16_640_pt22k_ft22ktoade20k.pth") - 1]
    assert ade.split() == ["large", "640", "px", "ADE20K", "segmentation,", "150", "56.7", "(57.0)", "mIoU"]
    documents = lines[lines.index("    microsoft/dit-large-finetuned-rvlcdip") - 1]
    assert documents.split() == ["large", "224", "px", "RVL-CDIP", "documents,", "16", "92.69"]
    assert "    openai/DALL-E  (encoder.pkl, decoder.pkl)" in lines
    assert sum(line.startswith("    vqkd_encoder_base_decoder_") for line in lines) == 3
    assert main(["models", "--plain"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.strip().split("\n")]
    assert {len(row) for row in rows} == {8}
    assert len(rows) == 1 + 25 + len(RELATED_CHECKPOINTS) + 4 + len(included_names())
    assert [row[6] for row in rows[26:34]] == [related.hub for related in RELATED_CHECKPOINTS]
    assert [row[6] for row in rows[-len(included_names()) :]] == included_names()
