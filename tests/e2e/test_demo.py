"""The demo, with fewer steps."""

import re
from dataclasses import replace

from beit.cli.main import main
from beit.tasks import demo


def test_demo_shows_what_was_measured(tmp_path, monkeypatch, capsys):
    pretrain_job, finetune_job = demo.pretrain_job, demo.finetune_job

    def short_pretraining(place):
        job = pretrain_job(place)
        tokenizer = replace(job.tokenizer, train=replace(job.tokenizer.train, max_steps=30))
        optim = replace(job.optim, warmup_steps=5)
        return replace(job, tokenizer=tokenizer, optim=optim, train=replace(job.train, max_steps=20))

    def short_finetuning(*arguments):
        job = finetune_job(*arguments)
        return replace(job, optim=replace(job.optim, warmup_steps=2), train=replace(job.train, max_steps=8))

    monkeypatch.setattr(demo, "pretrain_job", short_pretraining)
    monkeypatch.setattr(demo, "finetune_job", short_finetuning)
    assert main(["demo", f"--output={tmp_path / 'demo'}"]) == 0
    output = capsys.readouterr().out
    for kind, folder in (("pre-trained", "finetune"), ("from scratch", "scratch")):
        row = next(line for line in output.splitlines() if kind in line and "±" in line)
        shown = [float(number) for number in re.findall(r"([\d.]+)%", row)]
        runs = [demo.RunFolder(tmp_path / "demo" / f"{folder}_{seed}").read_result()["accuracy"] for seed in demo.SEEDS]
        assert shown[:3] == [round(100 * accuracy, 1) for accuracy in runs]
        assert abs(shown[3] - 100 * sum(runs) / 3) < 0.06
    assert output.count("predicted") == 5
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "Does pre-training help?" in page
    assert "Confusion matrix" in page
