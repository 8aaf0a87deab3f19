"""A chat request's place in its conversation: the user's node before the answer, the assistant's after it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from idiolect.core.call import Call, Completion, Ctx, Event, Finished
from idiolect.core.errors import BadInput
from idiolect.gateway import conversations, wire
from idiolect.gateway.app import App
from idiolect.gateway.server import shapes
from idiolect.gateway.server.schema import Wishes
from idiolect.gateway.streams import closing


class Turn:
    """Wraps a call's events; folds them into `done` on the way. Without a conversation it records no nodes."""

    def __init__(self, app: App, call: Call, ctx: Ctx) -> None:
        self._app, self._call, self._ctx = app, call, ctx
        self._conversation: str | None = None
        self.done = Completion()
        self.user_node: str | None = None
        self.node: str | None = None

    @classmethod
    async def begin(cls, app: App, call: Call, ctx: Ctx, wishes: Wishes | None) -> Turn:
        """Commit the user's node. With `regenerate`, `parent` is that node already and only an answer is added."""
        turn = cls(app, call, ctx)
        if wishes is None or wishes.conversation is None:
            if wishes is not None and (wishes.parent is not None or wishes.regenerate):
                raise BadInput("parent and regenerate need a conversation", param="idiolect.conversation")
            return turn
        talk = app.conversations
        turn._conversation = conversations.check_id(wishes.conversation, "idiolect.conversation")
        if wishes.regenerate:
            if wishes.parent is None:
                raise BadInput("regenerate needs the user's node as parent", param="idiolect.parent")
            talk.check_parent(turn._conversation, wishes.parent, role="user")
            turn.user_node = wishes.parent
            return turn
        talk.check_parent(turn._conversation, wishes.parent)
        if call.messages[-1].role != "user":
            raise BadInput("the last message of a conversation's request is the user's", param="messages")
        content = call.messages[-1].content
        made = conversations.node("user", content, parent=wishes.parent, trace=ctx.trace)
        turn.user_node = await talk.add(turn._conversation, made)
        return turn

    async def over(self, events: AsyncIterator[Event]) -> AsyncGenerator[Event, None]:
        """The events, folded; the answer's node is in the store before the last `Finished` goes out."""
        left, recorded = self._call.n, False
        try:
            async with closing(events):
                async for event in events:
                    self.done.add(event)
                    if isinstance(event, Finished):
                        left -= 1
                        if left == 0 and self._conversation is not None:
                            recorded = True
                            for choice in self.done.choices:
                                id = await self._app.conversations.add(self._conversation, self._answer(choice.index))
                                self.node = self.node or id
                    yield event
        finally:
            if self._conversation is not None and not recorded:  # cut: keep what was said
                for choice in self.done.choices:
                    self._app.conversations.add_soon(self._conversation, self._answer(choice.index))

    def _answer(self, index: int) -> dict[str, object]:
        choice = self.done.choices[index]
        return conversations.node(
            "assistant",
            choice.text,
            parent=self.user_node,
            model=self.done.model or self._call.model,
            trace=self._ctx.trace,
            mode=self.done.mode.mode if self.done.mode else "plain",
            why=self.done.mode.why if self.done.mode else "",
            citations=[wire.citation(c) for c in self.done.citations],
            notes=[n for n in shapes.notes(self.done) if n["data"].get("index", index) == index],
            timings=shapes.timings(self.done),
            finish=choice.reason or "cancelled",
        )
