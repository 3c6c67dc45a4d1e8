package pipeline

import (
	"fmt"
	"testing"
	"time"

	"platen"
)

func TestR6_4AnIntegrationTakesItsShareOfTheWorkersOnly(t *testing.T) {
	t.Parallel()
	l, now := newLanes(10*time.Second), time.Now()
	for range laneWidth {
		if wait, _ := l.enter("slow", false, now); wait != 0 {
			t.Fatal("there is a place, and it was not given")
		}
	}
	last := time.Duration(0)
	for range 3 {
		wait, failure := l.enter("slow", true, now)
		if wait < lanePauseMin || wait < last || failure != nil {
			t.Errorf("beyond its share: %v, %v", wait, failure)
		}
		last = wait
	}
	if wait, _ := l.enter("other", false, now); wait != 0 {
		t.Error("another integration waits for the slow one")
	}
	l.leave("slow", nil, true, 8*time.Second, now)
	if wait, _ := l.enter("slow", false, now); wait != 0 {
		t.Error("a place that became free is not given")
	}
	// Those who wait come back one after the other, at the pace of the lane, and all
	// within a minute.
	first, _ := l.enter("slow", false, now)
	second, _ := l.enter("slow", false, now)
	if second-first < 200*time.Millisecond || second-first > 300*time.Millisecond {
		t.Errorf("deliveries of 8 s by 8 at a time, a quarter of which is believed at first: %v between two, want 250ms", second-first)
	}
	for range 1000 {
		if last, _ = l.enter("slow", false, now); last > lanePauseMax {
			t.Fatalf("sent away for %v", last)
		}
	}
	if last != lanePauseMax {
		t.Errorf("the last of many comes back after %v", last)
	}
}

func TestR6_4ALaneClosesAfterFaultsAndOpensWithAnAnswer(t *testing.T) {
	t.Parallel()
	l, now := newLanes(10*time.Second), time.Now()
	away := &platen.Failure{Code: platen.FailureTimeout, Retryable: true}
	attempt := func(failure *platen.Failure, judged bool) {
		t.Helper()
		if wait, _ := l.enter("dead", false, now); wait != 0 {
			t.Fatalf("sent away for %v", wait)
		}
		l.leave("dead", failure, judged, time.Second, now)
	}
	for range laneFaults - 1 {
		attempt(away, true)
	}
	attempt(&platen.Failure{Code: platen.FailureAccessDenied}, true) // an answer: it is there
	for range laneFaults {
		attempt(nil, false) // interrupted: says nothing
		attempt(away, true)
	}
	wait, failure := l.enter("dead", false, now)
	if wait < 10*time.Second || wait > 11*time.Second || failure != away {
		t.Fatalf("after %d faults: %v, %v; want it closed for 10 s", laneFaults, wait, failure)
	}
	if wait, _ := l.enter("dead", true, now); wait != 0 {
		t.Error("somebody asks for an attempt and is sent away")
	}
	l.leave("dead", nil, false, 0, now)
	now = now.Add(10 * time.Second)
	if wait, _ := l.enter("dead", false, now); wait != 0 {
		t.Fatal("nobody is let in to look")
	}
	if wait, failure := l.enter("dead", false, now); wait == 0 || failure == nil {
		t.Error("a second is let in to look")
	}
	l.leave("dead", away, true, time.Second, now)
	now = now.Add(15 * time.Second)
	if wait, _ := l.enter("dead", false, now); wait < 4*time.Second {
		t.Errorf("closed for the second time, not for 20 s: %v left after 15", wait)
	}
	now = now.Add(5 * time.Second)
	attempt(nil, true)
	for range laneWidth {
		if wait, _ := l.enter("dead", false, now); wait != 0 {
			t.Fatal("it answers, and is still closed")
		}
	}
	for range laneWidth {
		l.leave("dead", nil, true, time.Second, now)
	}
	now = now.Add(2 * lanePauseMax)
	if wait, _ := l.enter("dead", false, now); wait != 0 {
		t.Error(wait)
	}
	l.leave("dead", nil, true, time.Second, now)
	if len(l.lanes) != 0 {
		t.Error("a lane that nobody uses takes memory")
	}
}

func TestWhatIsRememberedOfLanesIsBounded(t *testing.T) {
	t.Parallel()
	l, now := newLanes(time.Second), time.Now()
	l.enter("busy", false, now)
	for n := range 3 * lanesMax {
		name := fmt.Sprint(n)
		l.enter(name, false, now)
		l.leave(name, &platen.Failure{Retryable: true}, true, time.Second, now)
	}
	if len(l.lanes) > lanesMax || l.lanes["busy"].running != 1 {
		t.Errorf("%d lanes", len(l.lanes))
	}
}

func TestALaneStaysClosedForFiveMinutesAtMost(t *testing.T) {
	t.Parallel()
	l, now := newLanes(10*time.Second), time.Now()
	for range 100 {
		l.enter("dead", true, now)
		l.leave("dead", &platen.Failure{Retryable: true}, true, time.Second, now)
	}
	if closed := l.lanes["dead"].until.Sub(now); closed != laneClosedMax {
		t.Errorf("closed for %v", closed)
	}
}
