package sentinel_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// guest is another client's connection: it writes commands and reads lines.
type guest struct {
	*testing.T
	net.Conn

	in *bufio.Reader
}

func (s *stage) guest() *guest {
	s.Helper()
	conn, err := s.client.Dialer(name).DialContext(s.Context(), "tcp", "nobody:0")
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = conn.Close() })
	return &guest{T: s.T, Conn: conn, in: bufio.NewReader(conn)}
}

func encoded(words ...string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	return []byte(b.String())
}

// say writes a command.
func (g *guest) say(words ...string) error {
	_, err := g.Write(encoded(words...))
	return err
}

// mustSay writes a command and reads the first line of the reply.
func (g *guest) mustSay(want string, words ...string) {
	g.Helper()
	if err := g.say(words...); err != nil {
		g.Fatalf("%q: %v", words, err)
	}
	if line, err := g.in.ReadString('\n'); err != nil || line != want+"\r\n" {
		g.Fatalf("%q: %q, %v; want %q", words, line, err, want)
	}
}

// wantNotSent checks an error that other clients must take for one that lets them try again.
func wantNotSent(t *testing.T, err, why error) {
	t.Helper()
	var network net.Error
	if !errors.Is(err, sentinel.ErrNotSent) || !errors.Is(err, why) || errors.Is(err, sentinel.ErrOutcomeUnknown) {
		t.Errorf("%v; want ErrNotSent and %v", err, why)
	}
	if !errors.As(err, &network) || network.Timeout() {
		t.Errorf("%v: other clients would not try again", err)
	}
}

// wantUnknown checks an error after which no other client may try again.
func wantUnknown(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, sentinel.ErrOutcomeUnknown) || errors.Is(err, sentinel.ErrNotSent) {
		t.Errorf("%v; want ErrOutcomeUnknown", err)
	}
	if network := net.Error(nil); errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v: other clients would try again", err)
	}
}

func TestADialerFollowsAFailover(t *testing.T) {
	act(t, sentinel.Options{FenceWait: time.Second}, func(s *stage) {
		fresh := s.cluster.Replicas()[0]
		writer, reader, idler := s.guest(), s.guest(), s.guest()
		writer.mustSay("+OK", "SET", "a", "1")
		idler.mustSay("+PONG", "PING")
		if n := s.stats().Followed; n != 3 {
			t.Errorf("Followed is %d, want 3", n)
		}
		s.cluster.Select(fresh, s.cluster.Sentinels[1])
		synctest.Wait()
		reader.mustSay("$1", "GET", "a") // reads pass
		admitted := make(chan error, 1)
		go func() { admitted <- s.client.Dialer(name).Admit(s.Context(), true) }()
		var waiting sync.WaitGroup
		began := time.Now()
		waiting.Go(func() {
			wantNotSent(t, writer.say("SET", "a", "2"), sentinel.ErrFailover)
			if waited := time.Since(began); waited < 100*time.Millisecond || waited > 150*time.Millisecond {
				t.Errorf("a write waited %v for a promotion after 100 ms", waited)
			}
		})
		time.Sleep(100 * time.Millisecond)
		s.cluster.Promote(fresh)
		s.within(50*time.Millisecond, fresh)
		moved := time.Now()
		waiting.Wait()
		if err := <-admitted; err != nil {
			t.Errorf("Admit of a write that waited for the failover: %v", err)
		}
		if _, err := idler.in.ReadByte(); !errors.Is(err, sentinel.ErrFailover) {
			t.Errorf("an idle connection to the old primary: %v, want ErrFailover", err)
		}
		if waited := time.Since(moved); waited > 10*time.Millisecond {
			t.Errorf("an idle connection to the old primary ends %v after the move, want at once", waited)
		}
		wantNotSent(t, idler.say("SET", "a", "3"), sentinel.ErrFailover)
		for _, set := range []func(time.Time) error{idler.SetDeadline, idler.SetReadDeadline, idler.SetWriteDeadline} {
			if err := set(time.Now().Add(time.Second)); err != nil {
				t.Errorf("a deadline of a connection that was ended: %v: its user takes that for the command's error", err)
			}
		}
		s.guest().mustSay("+OK", "SET", "a", "4")
		if fresh.Snapshot()["a"] != "4" {
			t.Error("the new connection does not lead to the new primary")
		}
		time.Sleep(100 * time.Millisecond)
		if n := s.stats().Followed; n != 1 {
			t.Errorf("Followed is %d after the move, want the new one alone", n)
		}
	})
}

// A command that waits for an answer when the primary changes may get it for a moment.
func TestADialersConnectionsDrain(t *testing.T) {
	act(t, sentinel.Options{Mode: sentinel.PushOnly}, func(s *stage) {
		fresh := s.cluster.Replicas()[0]
		soon, late := s.guest(), s.guest()
		if err := errors.Join(soon.say("BLPOP", "soon", "0"), late.say("BLPOP", "late", "0")); err != nil {
			t.Fatal(err)
		}
		old := s.cluster.Primary()
		time.Sleep(50 * time.Millisecond)
		s.cluster.Promote(fresh)
		s.cluster.Announce()
		s.within(50*time.Millisecond, fresh)
		pusher, err := s.cluster.Net.Dial(s.Context(), "tcp", old.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = pusher.Close() }()
		if _, err := pusher.Write(encoded("RPUSH", "soon", "x")); err != nil {
			t.Fatal(err)
		}
		if line, err := soon.in.ReadString('\n'); err != nil || line != "*2\r\n" {
			t.Errorf("an answer within the time to drain: %q, %v", line, err)
		}
		began := time.Now()
		_, err = late.in.ReadByte()
		wantUnknown(t, err)
		if waited := time.Since(began); waited > 100*time.Millisecond {
			t.Errorf("without an answer it ended after %v", waited)
		}
	})
}

func TestADialerRefusesWhileThereIsNoPrimary(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		d := s.client.Dialer(name)
		busy, idle := s.guest(), s.guest()
		busy.mustSay("+OK", "SET", "a", "1")
		if err := busy.say("BLPOP", "q", "0"); err != nil {
			t.Fatal(err)
		}
		s.client.Breaker(name).ForceOpen()
		synctest.Wait()
		_, err := busy.in.ReadByte()
		wantUnknown(t, err)
		wantNotSent(t, idle.say("SET", "a", "2"), sentinel.ErrNoPrimary)
		dials := s.client.Stats().Dials
		if _, err := d.DialContext(s.Context(), "", ""); !errors.Is(err, sentinel.ErrNoPrimary) {
			t.Errorf("DialContext: %v, want ErrNoPrimary", err)
		}
		for _, write := range []bool{true, false} {
			if err := d.Admit(s.Context(), write); !errors.Is(err, sentinel.ErrNoPrimary) {
				t.Errorf("Admit(%v): %v, want ErrNoPrimary", write, err)
			}
		}
		if now := s.client.Stats().Dials; now != dials {
			t.Errorf("%d dials although there is no primary", now-dials)
		}
		s.client.Breaker(name).Reset()
		s.within(2*time.Second, s.cluster.Primary())
		s.guest().mustSay("+OK", "SET", "a", "3")
	})
}

// Of a pipeline in two parts the first may have been carried out when the second is refused.
func TestADialerKnowsWhatWasSent(t *testing.T) {
	act(t, sentinel.Options{FenceWait: -1}, func(s *stage) {
		half, duplex := s.guest(), s.guest()
		duplex.mustSay("+PONG", "PING")
		if err := half.say("SET", "a", "1"); err != nil {
			t.Fatal(err)
		}
		// A client that reads and writes at once: one reply of two has come, and a third command is
		// refused.
		lines := make(chan string, 2)
		go func() {
			for {
				line, err := duplex.in.ReadString('\n')
				if err != nil {
					return
				}
				lines <- line
			}
		}()
		synctest.Wait()
		s.cluster.Primary().SetFault(redis.OnVerbs(redis.Delay(10*time.Millisecond), "SET"))
		if err := errors.Join(duplex.say("SET", "b", "1"), duplex.say("BLPOP", "q", "0")); err != nil {
			t.Fatal(err)
		}
		<-lines
		s.cluster.Select(s.cluster.Replicas()[0])
		synctest.Wait()
		wantUnknown(t, half.say("SET", "a", "2"))
		wantUnknown(t, duplex.say("SET", "b", "2"))
		half.mustSay("+OK", "GET", "missing") // the reply to the SET: reads still pass
		broken := s.guest()
		broken.mustSay("+PONG", "PING")
		if err := errors.Join(broken.say("GET", "a"), s.cluster.Primary().DropClients()); err != nil {
			t.Fatal(err)
		}
		var err error
		for range 3 { // as with TCP, the first write after the other side has closed may pass
			synctest.Wait()
			err = errors.Join(err, broken.say("GET", "a"))
		}
		wantUnknown(t, err)
	})
}

// A client that reads and writes at once is known by a write beside a read, which may be as late as
// the write that is refused.
func TestADialerKnowsLateThatItsUserReadsAtOnce(t *testing.T) {
	act(t, sentinel.Options{FenceWait: -1}, func(s *stage) {
		duplex := s.guest()
		if err := errors.Join(duplex.say("SET", "b", "1"), duplex.say("BLPOP", "q", "0")); err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.Copy(io.Discard, duplex.in) }()
		synctest.Wait() // one reply of two has come
		s.cluster.Select(s.cluster.Replicas()[0])
		synctest.Wait()
		wantUnknown(t, duplex.say("SET", "b", "2"))
	})
}

func TestADialersWritesWaitWithinTheirDeadlines(t *testing.T) {
	act(t, sentinel.Options{FenceWait: 500 * time.Millisecond}, func(s *stage) {
		g := s.guest()
		s.cluster.Select(s.cluster.Replicas()[0])
		synctest.Wait()
		began := time.Now()
		if err := g.SetWriteDeadline(began.Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		err := g.say("SET", "a", "1")
		if wantNotSent(t, err, sentinel.ErrFailover); time.Since(began) != 100*time.Millisecond || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it waited %v: %v", time.Since(began), err)
		}
		if err := g.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		began = time.Now()
		if wantNotSent(t, g.say("SET", "a", "1"), sentinel.ErrFailover); time.Since(began) != 500*time.Millisecond {
			t.Errorf("it waited %v, want FenceWait", time.Since(began))
		}
		if err := g.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := g.in.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a time-out of the user's own: %v, want it unchanged", err)
		}
	})
}

// A primary that stalls keeps the connections, as it keeps the calls under way.
func TestADialersConnectionsOutliveAStall(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		g, primary := s.guest(), s.cluster.Primary()
		g.mustSay("+OK", "SET", "a", "1")
		if err := primary.Hang(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond)
		wantNotSent(t, g.say("SET", "a", "2"), sentinel.ErrNoPrimary)
		if err := primary.Release(); err != nil {
			t.Fatal(err)
		}
		s.within(time.Second, primary)
		g.mustSay("+OK", "SET", "a", "3")
	})
}

// A dial that takes longer than the change of the primary does not lead to the old one.
func TestADialThatStraddlesAMoveBeginsAgain(t *testing.T) {
	through := &taps{}
	actThrough(t, through, redis.FakeClusterOptions{}, sentinel.Options{}, func(s *stage) {
		fresh, direct := s.cluster.Replicas()[0], through.dial
		through.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := direct(ctx, network, addr)
			if addr != fresh.Addr() {
				time.Sleep(300 * time.Millisecond)
			}
			return conn, err
		}
		dialled := make(chan *guest)
		go func() { dialled <- s.guest() }()
		time.Sleep(50 * time.Millisecond)
		s.cluster.Failover(fresh)
		s.within(100*time.Millisecond, fresh)
		g := <-dialled
		g.mustSay("+OK", "SET", "a", "1")
		if fresh.Snapshot()["a"] != "1" {
			t.Error("the connection leads to the old primary")
		}
	})
}

func TestADialerOfAnUnknownName(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		for what, d := range map[string]*sentinel.Dialer{"an unknown name": s.client.Dialer("nobody"), "the zero value": {}} {
			d.Suspect()
			_, err := d.DialContext(s.Context(), "", "")
			for _, err := range []error{err, d.Admit(s.Context(), false)} {
				if !errors.Is(err, sentinel.ErrUnknownPrimary) {
					t.Errorf("%s: %v, want ErrUnknownPrimary", what, err)
				}
			}
		}
	})
}

func TestADialerEndsWithItsClient(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		g := s.guest()
		if err := g.say("BLPOP", "q", "0"); err != nil {
			t.Fatal(err)
		}
		s.client.Close()
		_, err := g.in.ReadByte()
		if wantUnknown(t, err); !errors.Is(err, sentinel.ErrClosed) {
			t.Errorf("%v, want ErrClosed", err)
		}
		if _, err := s.client.Dialer(name).DialContext(s.Context(), "", ""); !errors.Is(err, sentinel.ErrClosed) {
			t.Errorf("%v, want ErrClosed", err)
		}
		if n := s.stats().Followed; n != 0 {
			t.Errorf("Followed is %d", n)
		}
	})
}

// A client that gets READONLY knows it before the next heartbeat.
func TestSuspectHasThePrimaryAsked(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		primary := s.cluster.Primary()
		primary.SetRole(redis.Role{Of: "10.9.9.9:6379", LinkUp: true})
		time.Sleep(time.Millisecond)
		if s.primary() == "" {
			t.Fatal("the heartbeat has asked already")
		}
		s.client.Dialer(name).Suspect()
		time.Sleep(time.Millisecond)
		if got := s.primary(); got != "" {
			t.Errorf("the primary is %s, which says it is a replica", got)
		}
	})
}

func TestWritesAreKnownByName(t *testing.T) {
	for command, want := range map[string]bool{"GET": false, "get": false, "Set": true, "eval": true, "BF.ADD": true, "": true, "subscribe": false, "mget": false, "EXPIRE": true} {
		if got := sentinel.Writes(command); got != want {
			t.Errorf("Writes(%q) is %v", command, got)
		}
	}
}
