"""The support as a web page: python -m uvicorn docs.web:app --workers 2"""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, Cookie, Depends, FastAPI, HTTPException
from fastapi.responses import FileResponse
from fastapi.sse import EventSourceResponse

from database import DB_NAME, connect, mongodb_uri
from engine.conversation import Conversation
from engine.events import ApprovalNeeded, TurnFailed
from main import open_conversation
from settings import choose_model, load_settings, only_rules


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with await connect(mongodb_uri()) as app.state.client:  # one for the whole process
        yield


load_settings()
app = FastAPI(lifespan=lifespan)
model = choose_model(offline=only_rules())
app.get("/")(lambda: FileResponse(Path(__file__).with_suffix(".html")))


async def opened(email: Annotated[str, Cookie()]) -> Conversation:
    """Put your own login here: an email alone proves nothing."""
    customer = await app.state.client[DB_NAME].customers.find_one({"email": email.lower()})
    if customer is None:
        raise HTTPException(401)
    return await open_conversation(app.state.client, customer, *model)


@app.post("/turn", response_class=EventSourceResponse)
async def turn(
    conversation: Annotated[Conversation, Depends(opened)],
    message: Annotated[str, Body()] = "",
    question: Annotated[str, Body()] = "",  # its id
    yes: Annotated[bool, Body()] = False,
) -> AsyncIterator[dict[str, Any]]:
    try:
        if message:
            events = conversation.turn(message)
        elif question:
            events = conversation.decide(ApprovalNeeded(question, ""), yes)
        else:  # the page was loaded
            events = conversation.resume()
            for role, text in await conversation.transcript():
                yield {"kind": role, "text": text}
        async with aclosing(events):
            async for event in events:
                yield {"kind": type(event).__name__, **asdict(event)}
    except TurnFailed as error:
        yield {"kind": "Failed", "text": str(error)}
