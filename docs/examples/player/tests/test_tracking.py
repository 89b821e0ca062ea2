"""What the player reports while it plays "Harbour Lights": two ads, and pings in between."""


def test_the_visit_is_tracked_as_before(recorder, play, media_session, assert_same_tracking, assert_conforms):
    play(recorder.url)
    recorder.wait_for("sessionEnd", timeout=30)
    [session] = recorder.sessions
    assert_conforms(session)
    assert_same_tracking(session, media_session("visit.json"))


def test_an_event_that_fails_is_sent_again(collector, play):
    collector.fail("events", status=500, nth=3)  # the "play" of the pre-roll
    play(collector.url)
    collector.wait_for("sessionEnd", timeout=30)
    types = [event.type for event in collector.events()]
    assert types[:5] == ["sessionStart", "adBreakStart", "adStart", "play", "play"]


def test_the_recorded_visit_is_accepted_by_the_server(collector, media_session, assert_conforms, replay):
    visit = media_session("visit.json")
    assert_conforms(visit)
    assert replay(visit, to=collector.url).verdict == "same"
    assert [event.params["media.ad.id"] for event in collector.events("adStart")] == ["ferry", "lighthouse"]
