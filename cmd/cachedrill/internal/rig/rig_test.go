package rig_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/rig"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

func own(t *testing.T) *rig.Rig {
	t.Helper()
	r, err := rig.InProcess(2)
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, r)
	return r
}

func closeAtEnd(t *testing.T, r *rig.Rig) {
	t.Helper()
	t.Cleanup(func() {
		if err := errors.Join(r.Close(), r.Close()); err != nil {
			t.Errorf("Close twice: %v", err)
		}
	})
}

// answers reports whether the server of an index answers, on each side.
func answers(t *testing.T, r *rig.Rig, server int) (both [rig.Sides]bool) {
	t.Helper()
	for side := range both {
		c := memcache.New(r.Addrs(side)[server])
		c.Timeout = time.Second
		both[side] = c.Ping() == nil
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return both
}

func TestActionsHitBothSidesAndOneServer(t *testing.T) {
	r := own(t)
	if got := slices.Concat(r.Addrs(0), r.Addrs(1)); len(slices.Compact(slices.Sorted(slices.Values(got)))) != 4 {
		t.Errorf("addresses %v, want four different ones", got)
	}
	if !r.Breakable() || !r.Empties || r.Proxied || r.Foreign() != nil || r.Kinds[0] != "in-process" {
		t.Errorf("breakable %t, empties %t, proxied %t, kinds %v; want servers of its own", r.Breakable(), r.Empties, r.Proxied, r.Kinds)
	}
	for _, step := range []struct {
		action rig.Action
		fault  string
	}{{rig.Kill, "killed"}, {rig.Restart, ""}, {rig.Hang, "hung"}, {rig.Release, ""}} {
		if err := r.Do(step.action, 1); err != nil {
			t.Fatalf("Do(%s): %v", step.action, err)
		}
		up := step.fault == ""
		if got := answers(t, r, 1); got != [rig.Sides]bool{up, up} {
			t.Errorf("after %s the server answers: %v, want %t on both sides", step.action, got, up)
		}
		if got := answers(t, r, 0); got != [rig.Sides]bool{true, true} {
			t.Errorf("after %s the other server answers: %v, want true", step.action, got)
		}
		if got := r.Faults(); got[1] != step.fault || got[0] != "" {
			t.Errorf("after %s: Faults() = %q, want %q for the second", step.action, got, step.fault)
		}
	}
	if err := r.Do(rig.Slow, 0); !errors.Is(err, rig.ErrNoFaults) {
		t.Errorf("Do(slow) without a proxy = %v, want ErrNoFaults", err)
	}
}

func TestForeignServersAreBrokenOnTheWayOnly(t *testing.T) {
	server := testutil.StartFake(t)
	asked, err := rig.Ask(t.Context(), []string{server.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	r, err := rig.Through(asked)
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, r)
	if !r.Breakable() || r.Empties || !r.Proxied || !slices.Equal(r.Foreign(), []string{server.Addr()}) {
		t.Errorf("breakable %t, empties %t, proxied %t, foreign %v; want a proxy to the server", r.Breakable(), r.Empties, r.Proxied, r.Foreign())
	}
	for _, step := range []struct {
		action rig.Action
		up     bool
	}{{rig.Kill, false}, {rig.Restart, true}, {rig.Hang, false}, {rig.Release, true}, {rig.Cut, true}, {rig.Slow, true}, {rig.Fast, true}} {
		if err := r.Do(step.action, 0); err != nil {
			t.Fatalf("Do(%s): %v", step.action, err)
		}
		begin := time.Now()
		if got := answers(t, r, 0); got != [rig.Sides]bool{step.up, step.up} {
			t.Errorf("after %s the server answers through the proxies: %v, want %t", step.action, got, step.up)
		}
		if took := time.Since(begin); step.action == rig.Slow && took < 2*rig.Delay {
			t.Errorf("a round trip on each side took %v, want %v at least", took, 2*rig.Delay)
		}
		direct := memcache.New(server.Addr())
		if err := errors.Join(direct.Ping(), direct.Close()); err != nil {
			t.Errorf("after %s the server itself: %v", step.action, err)
		}
	}
}

func TestForeignServersWithoutFaultsCannotBeBroken(t *testing.T) {
	server := testutil.StartFake(t)
	gone := closedAddr(t)
	asked, err := rig.Ask(t.Context(), []string{server.Addr(), gone})
	if err != nil {
		t.Fatal(err)
	}
	if asked[0].Err != nil || asked[0].Kind != "memcached 1.6.0-fake" || asked[1].Err == nil || asked[1].Kind != "no answer" {
		t.Errorf("Ask() = %+v, want the first to answer", asked)
	}
	if asked[0].Limit != 64<<20 || asked[0].Bytes != 0 || asked[0].Evictions != 0 {
		t.Errorf("Ask() = %+v, want an empty server of 64 MiB", asked[0])
	}
	r := rig.Direct(asked)
	closeAtEnd(t, r)
	if got := r.Faults(); !slices.Equal(got, []string{"", rig.Down}) {
		t.Errorf("Faults() = %q, want the second down", got)
	}
	if r.Breakable() || !errors.Is(r.Do(rig.Kill, 0), rig.ErrNoFaults) || !slices.Equal(r.Addrs(1), []string{server.Addr(), gone}) {
		t.Errorf("breakable: %t, addresses %v; want the servers themselves, untouched", r.Breakable(), r.Addrs(1))
	}
}

func closedAddr(t *testing.T) string {
	t.Helper()
	f := testutil.StartFake(t)
	if err := f.Kill(); err != nil {
		t.Fatal(err)
	}
	return f.Addr()
}

func TestNoAnswerNamesEachAddressAndItsError(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	web := testutil.StartFake(t)
	web.SetFault(testutil.Always(testutil.Garbage([]byte("HTTP/1.1 400 Bad Request\r\n"))))
	gone := closedAddr(t)
	for wait := 300 * time.Millisecond; ; wait *= 2 { // a busy machine needs longer for an answer that says nothing
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		_, err = rig.Ask(ctx, []string{gone, silent.Addr().String(), web.Addr(), "/no/such/socket"})
		cancel()
		if !errors.Is(err, rig.ErrNoAnswer) {
			t.Fatalf("Ask() = %v, want ErrNoAnswer", err)
		}
		if wait > 10*time.Second || strings.Contains(err.Error(), web.Addr()+": not a memcached") {
			break
		}
	}
	for _, part := range []string{gone + ": ", "refused", silent.Addr().String() + ": ", web.Addr() + ": not a memcached", "/no/such/socket: "} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v\nlacks %q", err, part)
		}
	}
}
