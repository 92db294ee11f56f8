import torch

from mambair_cli.restoration.device.transfers import direct, overlapped

CPU = torch.device("cpu")


def batches(log, count=3):
    for index in range(count):
        log.append(("cpu", "cuts", index))
        yield torch.full((1, 3, 4, 6), float(index))


def test_one_after_the_other():
    order = []

    def run(x):
        order.append(("runs", x.flatten()[0].item()))
        return x.bfloat16()

    for restored in direct(batches(order), run, CPU):
        assert restored.dtype == torch.float32
        order.append(("handed out", restored.flatten()[0].item()))
    assert order == [
        step
        for index in range(3)
        for step in (("cpu", "cuts", index), ("runs", index), ("handed out", index))
    ]


def test_copies_run_beside_the_computation(gpu):
    handed_out = []

    def run(x):
        gpu.log.append(("compute", "runs", x.flatten()[0].item()))
        return x.transpose(2, 3) + 1

    for restored in overlapped(batches(gpu.log), run, CPU, gpu):
        assert restored.is_contiguous()
        gpu.log.append(("cpu", "has", restored.flatten()[0].item()))
        handed_out.append(restored)
    assert torch.equal(torch.cat(handed_out)[:, 0, 0, 0], torch.tensor([1.0, 2.0, 3.0]))
    work = [(who, what, which) for who, what, which in gpu.log if what in ("cuts", "runs", "has")]
    assert work == [
        ("cpu", "cuts", 0),
        ("compute", "runs", 0),
        ("cpu", "cuts", 1),
        ("compute", "runs", 1),
        ("cpu", "cuts", 2),
        ("cpu", "has", 1),
        ("compute", "runs", 2),
        ("cpu", "has", 2),
        ("cpu", "has", 3),
    ]


def test_every_step_waits_for_what_it_needs(gpu):
    list(overlapped(batches([], 2), lambda x: x + 1, CPU, gpu))
    first_up, second_up, first_down, second_down = "event 1", "event 2", "event 3", "event 4"
    assert gpu.log == [
        ("copies", "records", first_up),
        ("compute", "waits for", first_up),
        ("copies", "records", second_up),
        ("copies", "waits for", "compute"),
        ("copies", "records", first_down),
        ("compute", "waits for", second_up),
        ("copies", "waits for", "compute"),
        ("copies", "records", second_down),
        ("cpu", "waits for", first_down),
        ("cpu", "waits for", second_down),
    ]


def test_nothing_to_do(gpu):
    assert not list(overlapped(iter([]), lambda x: x, CPU, gpu))
    assert not list(direct(iter([]), lambda x: x, CPU))
