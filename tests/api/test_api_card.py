"""A model's card: what its record says, as JSON and as Markdown that nobody's words can break."""

from __future__ import annotations

from pathlib import Path

import pytest
from api_server import problem, serving
from test_api_models import counted, executed, trained

pytestmark = pytest.mark.anyio


async def test_the_card_says_what_the_record_says(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await trained(api, dataset={"sample": "iris", "validation": 0.1, "test": 0.2, "split_seed": 5})
        await api.http.post("/v1/models/flowers/versions", json={"run": run_id, "note": "the first"})
        await api.http.put("/v1/models/flowers/aliases/live", json={"version": 1})
        evaluated = executed(
            api, await api.http.post("/v1/jobs", json={"type": "evaluate", "spec": {"model": "flowers"}})
        )
        card = (await api.http.get("/v1/models/flowers@live/card")).json()
        run = (await api.http.get(f"/v1/runs/{run_id}")).json()
        assert (card["model"], card["kind"], card["predicts"]) == ("flowers:1", "network", "one of 3 classes")
        assert (card["note"], card["aliases"]) == ("the first", ["live"])
        assert card["scores"]["test_accuracy"] == run["summary"]["test_accuracy"]["last"]
        assert [each["label"] for each in card["held_back"]["per_class"]] == ["setosa", "versicolor", "virginica"]
        assert sum(each["support"] for each in card["held_back"]["per_class"]) == 30
        (found,) = card["evaluations"]
        assert (found["run_id"], found["part"], found["scores"]["accuracy"]) == (
            evaluated, "test", card["scores"]["test_accuracy"],
        )  # fmt: skip
        assert (card["data"]["rows"], card["data"]["test"], card["data"]["split_seed"]) == (150, 0.2, 5)
        assert [each["name"] for each in card["data"]["features"]][:2] == ["sepal_length", "sepal_width"]
        assert [(each["kind"], each["parameters"]) for each in card["layers"]] == [("dense", 40), ("dense", 27)]
        assert card["parameters"] == 67
        assert card["training"]["settings"]["optimizer"] == run["spec"]["optimizer"]
        assert (card["weights_sha256"], card["receipt"]) == (run["weights_sha256"], run["receipt"])


async def test_markdown_tells_the_same_and_its_example_works(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await trained(api, dataset={"sample": "iris", "test": 0.2})
        answer = await api.http.get(f"/v1/models/{run_id}/card", headers={"accept": "text/markdown"})
        assert answer.headers["content-type"].startswith("text/markdown")
        assert answer.text.startswith(f"# {run_id.replace('_', chr(92) + '_')}\n")
        accuracy = (await api.http.get(f"/v1/models/{run_id}/card")).json()["scores"]["test_accuracy"]
        assert f"| test\\_accuracy | {accuracy:.4g} |" in answer.text
        assert "| setosa |" in answer.text
        _, _, after = answer.text.partition(f"```\ncurl {api.http.base_url}")
        path, _, body = after.partition("\n")[0].partition(" --json ")
        predicted = await api.http.post(path, content=body.strip("'"), headers={"content-type": "application/json"})
        assert predicted.json()["predictions"][0]["label"] == "setosa"
        page = await api.http.get(f"/v1/models/{run_id}/card", headers={"accept": "text/html,*/*"})
        assert (page.text, page.headers["content-type"].partition(";")[0]) == (answer.text, "text/plain")


async def test_words_of_others_stay_words(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        table = "a|b,label\n" + "\n".join(f"{n},{'<b>x</b>' if n % 2 else '# y'}" for n in range(20))
        dataset = (await api.upload(table)).json()["id"]
        run_id = await trained(
            api, dataset={"id": dataset, "test": 0.2},
            network={"layers": [{"kind": "dense", "units": 2, "activation": "softmax"}]},
        )  # fmt: skip
        await api.http.patch(f"/v1/runs/{run_id}", json={"notes": "see [here](javascript:x)\n# head"})
        text = (await api.http.get(f"/v1/models/{run_id}/card", headers={"accept": "text/markdown"})).text
        assert "<b>" not in text.replace("\\<b\\>", "")
        assert "\n# " not in text
        assert "](" not in text.replace("\\](", "")
        rows = [line for line in text.splitlines() if line.startswith("| a")]
        assert rows == ["| a\\|b | number |  |"]


async def test_a_text_model_and_a_missing_one(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        run_id = await counted(api)
        card = (await api.http.get(f"/v1/models/{run_id}/card")).json()
        assert (card["kind"], card["layers"], card["training"]["settings"]["order"]) == ("ngram", [], 3)
        assert "/v1/completions" in card["example"]
        text = (await api.http.get(f"/v1/models/{run_id}/card", headers={"accept": "text/markdown"})).text
        assert "None: no rows were held back." in text
        problem(await api.http.get("/v1/models/nothing/card"), 404)
