"""What must stand beside results of the embedded miniature world: all of it is a toy, or a part."""

from ptl_sweep.pipeline.plan import Plan

WORLD = (
    "The miniature world is a toy: it proves that the pipeline works, and says nothing about "
    "VisDrone or any other real data set."
)
BUILT_IN = (
    "Part of a gain may be built in: its own pool was drawn to cover poses and pitches that its "
    "source lacks."
)
POOL = (
    "The virtual pool beside these real pictures is the miniature world's, figures drawn to prove "
    "the pipeline: what it adds or costs says nothing about a pool of your domain. "
    "pool=cutouts composes one from cut-outs of persons, pool=archangel reads rendered pictures."
)


def toy_note(plan: Plan) -> str:
    """Say what of this sweep is the miniature world; empty: nothing is."""
    roles = [stage.toy_roles for stage in plan.stages.values()]
    parts = [
        WORLD if any(one & {"dataset", "target"} for one in roles) else "",
        BUILT_IN if any(one >= {"dataset", "pool"} for one in roles) else "",
        pool_note(plan),
    ]
    return " ".join(filter(None, parts))


def pool_note(plan: Plan) -> str:
    """Say that real pictures are trained on beside the miniature world's pool; empty: they are not.

    Who sweeps the toy as a whole has chosen it; this is what a default does.
    """
    has_toy_pool = any(stage.toy_roles == {"pool"} for stage in plan.ptl_stages())
    return POOL if has_toy_pool else ""
