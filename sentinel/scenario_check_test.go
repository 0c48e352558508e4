package sentinel_test

import (
	"context"
	"time"

	"github.com/holdfast-go/holdfast/sentinel"
)

// found looks whether the client finds the primary of a cluster that is well, and stays there.
func (s *scene) found(ctx context.Context) {
	want, err := s.rig.PrimaryAddr(ctx, name)
	if err != nil {
		s.fail("no primary in a cluster that is well: %v", err)
		return
	}
	began, limit := time.Now(), foundWithin
	if s.rogue {
		limit = foundDespite
	}
	for {
		at := s.client.Topology(name)
		if at.Primary == want && s.set(ctx, "found") == nil {
			break
		}
		if time.Since(began) > limit {
			s.fail("the cluster has been well for %v, and the client is at %q, not at %q: %v", limit, at.Primary, want, s.set(ctx, "found"))
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	s.tell("the client has found the primary")
}

// count looks for writes that are not where they should be, or where they should not.
func (s *scene) count(ctx context.Context) {
	has, err := s.rig.Snapshot(ctx, name)
	if err != nil {
		s.fail("the primary's data: %v", err)
	}
	lost := 0
	for _, key := range s.acked {
		if has[key] == "" {
			lost++
		}
	}
	if s.calm && lost > 0 {
		s.fail("%d of %d acknowledged writes are lost, and nothing has happened but a failover on command", lost, len(s.acked))
	}
	if s.calm && s.refusals > 0 {
		s.fail("%d writes were refused by a replica, and nothing has happened but a failover on command", s.refusals)
	}
	if s.calm && s.mode == sentinel.Eager && s.failed > 0 && !*realScenarios { // real sentinels may take longer for a promotion than a write waits
		s.fail("%d calls failed, and nothing has happened but a failover on command", s.failed)
	}
	if s.calm && len(s.acked) < s.calls/2 {
		s.fail("%d of %d writes were acknowledged, and nothing has happened but a failover on command", len(s.acked), s.calls)
	}
	carried := make(map[string]bool)
	for _, f := range s.fakes {
		for _, cmd := range f.Commands() {
			if cmd.Verb() == "SET" {
				carried[cmd.Args[1]] = true
			}
		}
	}
	for _, key := range s.unsent {
		if carried[key] {
			s.fail("the write of %s was not sent, as its error says, and a server has carried it out", key)
			break
		}
	}
	if s.evil != nil {
		if n := s.evil.Stats().Accepted; n > 0 {
			s.fail("%d connections went to a server that one sentinel alone names", n)
		}
	}
	s.tell("%d writes, %d acknowledged, %d lost", s.calls, len(s.acked), lost)
}
