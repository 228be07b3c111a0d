"""Stand-ins for what a real OpenRTC worker needs from the network: a room, and STT, LLM and TTS providers.

Used by openrtc_worker.py; everything that is not here is the real package. It knows nothing of otop nor of the tests.
"""
from __future__ import annotations

import asyncio
import uuid
from unittest.mock import AsyncMock, create_autospec

from livekit import rtc
from livekit.agents import APIConnectOptions, llm, stt, tts

ANSWER = "hello this is a canned answer from the fake model".split()


class OfflineRoom(rtc.Room):
    """A real rtc.Room whose connect() succeeds at once, with one silent caller in it."""

    async def connect(self, url, token, options=None):  # type: ignore[override]
        agent = create_autospec(rtc.LocalParticipant, instance=True)
        agent.sid, agent.identity, agent.attributes = "PA_agent", "agent", {}
        agent.publish_track.return_value = AsyncMock()
        self._local_participant = agent
        caller = create_autospec(rtc.RemoteParticipant, instance=True)   # so that RoomIO starts its output
        caller.identity, caller.sid, caller.name = "caller", "PA_caller", "caller"
        caller.attributes, caller.track_publications, caller.metadata = {}, {}, ""
        caller.kind = rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD
        caller.state = rtc.ParticipantState.PARTICIPANT_STATE_ACTIVE
        caller.disconnect_reason = None
        self._remote_participants = {"caller": caller}
        self._connection_state = rtc.ConnectionState.CONN_CONNECTED
        self._info.sid = "RM_offline"
        self._resolve_first_sid("RM_offline")

    async def disconnect(self, *args, **kwargs):  # type: ignore[override]
        self._connection_state = rtc.ConnectionState.CONN_DISCONNECTED

    def isconnected(self) -> bool:
        return self._connection_state == rtc.ConnectionState.CONN_CONNECTED

    def hang_up(self) -> None:
        """What the real room emits when the caller leaves."""
        self._connection_state = rtc.ConnectionState.CONN_DISCONNECTED
        self.emit("disconnected", rtc.DisconnectReason.ROOM_DELETED)


class FakeSTT(stt.STT):
    def __init__(self) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))

    async def _recognize_impl(self, *args, **kwargs):
        raise NotImplementedError


class FakeLLM(llm.LLM):
    """Streams a canned answer; `seconds` is how long that takes, and so how long a greeting takes."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.gap = seconds / len(ANSWER)

    def chat(self, *, chat_ctx, tools=None, conn_options=APIConnectOptions(), **_):
        return _FakeLLMStream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class _FakeLLMStream(llm.LLMStream):
    async def _run(self) -> None:
        for word in ANSWER:
            await asyncio.sleep(self._llm.gap)
            self._event_ch.send_nowait(llm.ChatChunk(
                id="x", delta=llm.ChoiceDelta(role="assistant", content=word + " ")))


class FakeTTS(tts.TTS):
    """Speaks silence: 60 ms of audio per word."""

    def __init__(self) -> None:
        super().__init__(capabilities=tts.TTSCapabilities(streaming=False), sample_rate=24000, num_channels=1)

    def synthesize(self, text, *, conn_options=APIConnectOptions()):
        return _FakeChunks(tts=self, input_text=text, conn_options=conn_options)


class _FakeChunks(tts.ChunkedStream):
    async def _run(self, emitter) -> None:
        emitter.initialize(request_id=uuid.uuid4().hex, sample_rate=24000, num_channels=1, mime_type="audio/pcm")
        emitter.push(b"\0\0" * int(24000 * 0.06 * max(1, len(self._input_text.split()))))
        emitter.flush()
