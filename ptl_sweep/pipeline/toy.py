"""What must stand beside results of the embedded miniature world: whole toy, or only its pool."""

from ptl_sweep.pipeline.plan import Plan

WORLD = (
    "The miniature world is a toy: it proves that the pipeline works, and says nothing about "
    "VisDrone or any other real data set. Part of any gain is built in: its pool was drawn to "
    "cover poses and pitches that its source lacks."
)
POOL = (
    "The virtual pool beside these real pictures is the miniature world's, figures drawn to prove "
    "the pipeline: what it adds or costs says nothing about a pool of your domain. "
    "pool=cutouts composes one from cut-outs of persons, pool=archangel reads rendered pictures."
)


def toy_note(plan: Plan) -> str:
    """Say what of this sweep is the miniature world; empty: nothing is."""
    if not plan.toy_roles:
        return ""
    return POOL if plan.toy_roles == {"pool"} else WORLD
