package testutil_test

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

// onGets makes gets fail in one way on a fake that holds the key k.
func onGets(t *testing.T, fault testutil.Fault) (*testutil.Fake, *wire) {
	t.Helper()
	f, w := newMemoryFake(t, testutil.FakeOptions{})
	w.call(t, set("k", "value"))
	f.SetFault(testutil.OnVerbs(fault, "get"))
	return f, w
}

const good = "VALUE k 0 5\r\nvalue\r\nEND\r\n"

func TestFaultsThatChangeTheReply(t *testing.T) {
	for name, c := range map[string]struct {
		fault testutil.Fault
		want  string
	}{
		"none":                {testutil.Fault{}, good},
		"Garbage":             {testutil.Garbage([]byte("\x00\xff garbage\r\n")), "\x00\xff garbage\r\n"},
		"EmptyLine":           {testutil.EmptyLine(), "\n"},
		"ServerError":         {testutil.ServerError("out of memory"), "SERVER_ERROR out of memory\r\n"},
		"ClientError":         {testutil.ClientError("bad"), "CLIENT_ERROR bad\r\n"},
		"WrongKey":            {testutil.WrongKey(), "VALUE ! 0 5\r\nvalue\r\nEND\r\n"},
		"ExtraReply":          {testutil.ExtraReply(), good + good},
		"ExtraReplyAfter":     {testutil.ExtraReplyAfter(time.Millisecond), good + good},
		"DropReply":           {testutil.DropReply(), ""},
		"TooManyConns":        {testutil.TooManyConns(), "ERROR Too many open connections\r\n<closed>"},
		"CloseMidReply":       {testutil.CloseMidReply(16), good[:16] + "<closed>"},
		"CloseMidReply, all":  {testutil.CloseMidReply(1000), good + "<closed>"},
		"CloseMidReply, none": {testutil.CloseMidReply(0), "<closed>"},
	} {
		t.Run(name, func(t *testing.T) {
			_, w := onGets(t, c.fault)
			if got := w.exchange(t, "get k\r\n"); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestWrongKeyRenamesEveryValue(t *testing.T) {
	_, w := onGets(t, testutil.WrongKey())
	w.call(t, set("!", "VALUE x 0 1\r\n"))
	want := "VALUE ! 0 5\r\nvalue\r\nVALUE # 0 13\r\nVALUE x 0 1\r\n\r\nEND\r\n"
	if got := w.exchange(t, "get k ! none\r\n"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFaultsInTime(t *testing.T) {
	for name, c := range map[string]struct {
		fault testutil.Fault
		took  time.Duration
		got   string // within an hour
	}{
		"DelayReply":   {testutil.DelayReply(3 * time.Second), 3 * time.Second, good},
		"Trickle":      {testutil.Trickle(time.Second, 10), 3 * time.Second, good},
		"AcceptSilent": {testutil.AcceptSilent(), time.Hour, ""},
		"HangGets":     {testutil.HangGets(), time.Hour, ""},
		"ForgedSize":   {testutil.ForgedSize(1 << 40), time.Hour, "VALUE k 0 1099511627776\r\nfew bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, w := onGets(t, c.fault)
				begin := time.Now()
				check(t, w.SetDeadline(begin.Add(time.Hour)))
				w.send(t, "get k\r\n")
				got := make([]byte, len(good)*3)
				n := 0
				for c.took == time.Hour || n < len(good) {
					more, err := w.in.Read(got[n:])
					n += more
					if err != nil {
						break
					}
				}
				if took := time.Since(begin); took != c.took || string(got[:n]) != c.got {
					t.Errorf("%q after %v, want %q after %v", got[:n], took, c.got, c.took)
				}
			})
		})
	}
}

func TestForgedFloodSendsOn(t *testing.T) {
	_, w := onGets(t, testutil.ForgedFlood(10))
	w.send(t, "get k\r\n")
	if got := w.line(t); got != "VALUE k 0 10" {
		t.Fatal(got)
	}
	if _, err := io.CopyN(io.Discard, w.in, 10<<20); err != nil {
		t.Error(err)
	}
}

func TestHangGetsAnswersTheRest(t *testing.T) {
	f, w := newMemoryFake(t, testutil.FakeOptions{})
	f.SetFault(testutil.Always(testutil.HangGets()))
	w.call(t, "version\r\n")
	w.call(t, set("k", "v"))
	w.send(t, "gat 0 k\r\n")
	if !w.isSilent(t, 20*time.Millisecond) {
		t.Error("a get is answered")
	}
	dialFake(t, f).call(t, "version\r\n")
}

func TestFaultsOnFreshConnections(t *testing.T) {
	f, old := newMemoryFake(t, testutil.FakeOptions{})
	old.call(t, "version\r\n")
	f.SetFault(testutil.OnVerbs(testutil.TooManyConns(), testutil.VerbConnect))
	fresh := dialFake(t, f)
	if got := fresh.line(t); got != "ERROR Too many open connections" {
		t.Error(got)
	}
	if _, err := fresh.in.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("then %v", err)
	}
	f.SetFault(testutil.OnVerbs(testutil.AcceptSilent(), testutil.VerbConnect))
	fresh = dialFake(t, f)
	fresh.send(t, "version\r\n")
	if !fresh.isSilent(t, 20*time.Millisecond) {
		t.Error("a silent connection is answered")
	}
	if got := old.call(t, "version\r\n"); !strings.HasPrefix(got, "VERSION") {
		t.Errorf("an old connection is answered with %q", got)
	}
	f.SetFault(testutil.Always(testutil.TooManyConns()))
	dialFake(t, f) // Always spares connections
	f.SetFault(nil)
	dialFake(t, f).call(t, "version\r\n")
}

func TestFaultsCarryOutTheCommandOrNot(t *testing.T) {
	for name, c := range map[string]struct {
		fault testutil.Fault
		done  bool
	}{
		"ServerError":   {testutil.ServerError("x"), false},
		"Garbage":       {testutil.Garbage([]byte("x\r\n")), false},
		"DropReply":     {testutil.DropReply(), true},
		"CloseMidReply": {testutil.CloseMidReply(0), true},
	} {
		t.Run(name, func(t *testing.T) {
			f, w := newMemoryFake(t, testutil.FakeOptions{})
			f.SetFault(testutil.Times(1, testutil.OnVerbs(c.fault, "set")))
			w.exchange(t, set("k", "v"))
			other := dialFake(t, f)
			if got := other.value(t, "k"); (got == "v") != c.done {
				t.Errorf("the set has left %q", got)
			}
			if got := other.call(t, set("k", "2")); got != "STORED" {
				t.Errorf("the fault is used up, but: %q", got)
			}
		})
	}
}

func TestTimesCountsOnlyFaultsThatApply(t *testing.T) {
	f, w := newMemoryFake(t, testutil.FakeOptions{})
	f.SetFault(testutil.Times(1, testutil.Always(testutil.HangGets())))
	w.call(t, "version\r\n")
	w.send(t, "get k\r\n")
	if !w.isSilent(t, 20*time.Millisecond) {
		t.Error("the command before has used up the fault")
	}
}

func TestAChooserSeesTheCommandAndMayKill(t *testing.T) {
	f, w := newMemoryFake(t, testutil.FakeOptions{})
	w.call(t, "version\r\n") // the connection has been seen off
	seen := make(chan testutil.Command, 10)
	f.SetFault(func(cmd testutil.Command) testutil.Fault {
		seen <- cmd
		if cmd.Verb == "get" {
			check(t, f.Kill())
		}
		return testutil.Fault{}
	})
	w.send(t, "set k 1 0 1 noreply\r\nv\r\n")
	if cmd := <-seen; cmd.Conn != 1 || cmd.Index != 2 || cmd.Keys[0] != "k" || string(cmd.Data) != "v" || !cmd.NoReply || cmd.IsGet() {
		t.Errorf("the chooser sees %+v", cmd)
	}
	w.send(t, "get a b\r\n")
	if cmd := <-seen; cmd.Index != 3 || len(cmd.Keys) != 2 || cmd.NoReply || !cmd.IsGet() {
		t.Errorf("the chooser sees %+v", cmd)
	}
	if _, err := w.in.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the killed fake answers: %v", err)
	}
	if _, err := f.Dial(t.Context(), "tcp", ""); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the killed fake accepts: %v", err)
	}
}
