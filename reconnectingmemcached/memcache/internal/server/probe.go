package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/sockets"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/backoff"
)

const (
	// probeMargin is what a probe may take beyond its limit before it is abandoned: a dialer may
	// not honour its context.
	probeMargin = time.Second
	// zombieDelay is how long after the first deletion the missed keys are deleted once more: a
	// server that was stopped works off what its sockets held, which may be the very writes that
	// were given up.
	zombieDelay = 100 * time.Millisecond
	// ReplayBatch bounds the deletions under way unanswered.
	ReplayBatch = 1024
	// replayRounds bounds how often a replay starts again because more was missed meanwhile.
	replayRounds = 3
	// leastPatience is what a batch of deletions may take at least: a connection that a lost packet
	// silences holds up no more.
	leastPatience = time.Second
	// openPause spaces the looks at what becomes of writes on connections that live.
	openPause = 5 * time.Millisecond
	// replayTime bounds one replay, replayPause spaces those that failed while the server is up.
	replayTime  = 5 * time.Second
	replayPause = time.Second
)

// probeDelay spaces the probes: close for a server that refuses, which costs it nothing; wider for
// one that hangs; widest where somebody has to mend something first.
func probeDelay(cause error, attempt int) time.Duration {
	if faults.IsMisconfigured(cause) {
		return backoff.Exponential{Base: time.Second, Factor: 2, Cap: 30 * time.Second}.Delay(attempt)
	}
	limit := 250 * time.Millisecond
	if errors.Is(cause, faults.ErrHung) || errors.Is(cause, breaker.ErrProbeTimeout) || faults.IsTimeout(cause) {
		limit = time.Second
	}
	return backoff.Exponential{Base: 20 * time.Millisecond, Factor: 1.5, Cap: limit}.Delay(attempt)
}

// session is a connection of the background's own.
type session struct {
	conn net.Conn
	in   *bufio.Reader
	stop func() bool
	done bool // all that was asked is answered

	ending   string        // the request that ends what is asked: see canary
	patience time.Duration // with one batch of deletions
	refused  int           // deletions
}

func (s *Server) openSession(ctx context.Context, dial dialing) (*session, error) {
	conn, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	in := bufio.NewReaderSize(&meter{Conn: conn, server: s}, 4<<10)
	return &session{conn: conn, in: in, stop: stop, ending: s.Env.canaryRequest()}, nil
}

func (c *session) hangUp() {
	c.stop()
	if c.done {
		_ = c.conn.Close()
		return
	}
	sockets.Discard(c.conn)
}

// canary reads the reply to the ending, which can be told from those of all other commands: it says
// that they are all here, and no more than were asked for. A proxy whose backend for that key is
// dead answers with an error line, which is as good as an end.
func (c *session) canary() error {
	line, err := protocol.ReadLine(c.in)
	if err != nil {
		return err
	}
	if h, ok := protocol.ParseValueHeader(line); ok && string(h.Key) == protocol.CanaryKey { // somebody has stored it
		if _, err := protocol.ReadValue(c.in, h, protocol.CanaryKey); err != nil {
			return err
		}
		if line, err = protocol.ReadLine(c.in); err != nil {
			return err
		}
	}
	if string(line) != "END" && !protocol.IsErrorLine(line) || protocol.TurnedAway(line) || c.in.Buffered() > 0 {
		return protocol.BadReply(protocol.OpGet, line)
	}
	c.done = true
	return nil
}

// probe asks a server that is down whether it is back. Why it is not is what callers are told from
// then on.
func (s *Server) probe(ctx context.Context) error {
	limit := s.Env.limits.ProbeTime(s.Pace.Seen(), int(s.probes.Add(1)-1))
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := s.Env.Now()
	err := s.ask(limited, s.dialProbe)
	if err == nil {
		s.Pace.Saw(s.Env.Now() - began)
		s.Env.Unanswered.End()
		return nil
	}
	if limited.Err() != nil {
		err = fmt.Errorf("no answer to a probe within %v: %w", limit.Round(time.Millisecond), err)
	}
	s.stillDown(err)
	return err
}

// stillDown replaces the cause of an outage with what the last probe met with.
func (s *Server) stillDown(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		s.down = newDownState(s.down.Since, err)
	}
}

// dialProbe dials where the server may be, and makes that its home.
func (s *Server) dialProbe(ctx context.Context) (net.Conn, error) {
	if s.home.host == "" {
		return s.dialShared(ctx)
	}
	at := s.home.addr()
	addrs, err := s.addressesAgain(ctx)
	if err != nil && !at.IsValid() {
		return nil, err
	}
	down := s.DownNow()
	inGrace := down == nil || time.Since(down.Since) < s.Env.Grace
	return s.knock(ctx, s.home.join(candidate(at, addrs, inGrace, int(s.probes.Load()))))
}

// ask asks on a fresh connection for the version and for a key: a proxy may answer the one while
// the other hangs. One that ends the connection at the version does not know that command: it is
// asked for the key alone.
func (s *Server) ask(ctx context.Context, dial dialing) error {
	err := s.askFor(ctx, dial, protocol.VersionRequest)
	if errors.Is(err, io.EOF) && ctx.Err() == nil {
		if s.askFor(ctx, dial, "") == nil {
			return nil
		}
	}
	return err
}

func (s *Server) askFor(ctx context.Context, dial dialing, first string) error {
	c, err := s.openSession(ctx, dial)
	if err != nil {
		return err
	}
	defer c.hangUp()
	if err := c.greet(first); err != nil {
		if faults.IsTimeout(err) {
			return fmt.Errorf("%w: %w", faults.ErrHung, err)
		}
		return err
	}
	s.versionless.Store(first == "")
	s.settleAt(c.conn)
	return nil
}

// greet asks for the version, unless that is left out, and for the canary. An error line is an
// answer.
func (c *session) greet(first string) error {
	if _, err := io.WriteString(c.conn, first+c.ending); err != nil {
		return err
	}
	if first == "" {
		return c.canary()
	}
	line, err := protocol.ReadLine(c.in)
	if err != nil {
		return err
	}
	if got := protocol.ParseLine(protocol.OpPing, line); got.Err != nil && (protocol.TurnedAway(line) || !errors.Is(got.Err, gomemcache.ErrServerError)) {
		return refusedSession(line, got.Err)
	}
	return c.canary()
}

// refusedSession words an error line that the background met with. It is no answer to a call, so it
// is not an [ErrServerError].
func refusedSession(line []byte, err error) error {
	switch {
	case protocol.TurnedAway(line):
		return faults.Soft(faults.ErrTooManyConns)
	case errors.Is(err, gomemcache.ErrServerError):
		return fmt.Errorf("memcache: the server answered %q to a probe or a deletion", line[:min(len(line), protocol.MaxQuoted)])
	}
	return err
}

// errNotDeleted says that the server has refused deletions of missed keys. They stay in the log,
// and are tried again.
var errNotDeleted = errors.New("memcache: deletions of missed writes refused")

// makeReady deletes what a server that is back has missed. Keys whose deletion it refuses are
// misses; the others do not wait for them.
func (s *Server) makeReady(ctx context.Context) error {
	s.forgetRestarted(ctx)
	if err := s.replay(ctx); !errors.Is(err, errNotDeleted) {
		return err
	}
	return nil
}

// replay deletes the keys of missed writes until none is left. Those that may still be on their way
// stay in the log, and so are misses here, until [server.replaySoon] has deleted them once more.
func (s *Server) replay(ctx context.Context) error {
	for range replayRounds {
		batch := s.Missed.fresh()
		if len(batch.keys) == 0 && !batch.overflow {
			return nil
		}
		if err := s.replayOnce(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) replayOnce(ctx context.Context, batch missedBatch) error {
	c, err := s.openSession(ctx, s.Dial)
	if err != nil {
		return fmt.Errorf("memcache: delete missed writes: %w", err)
	}
	defer c.hangUp()
	if batch.overflow && s.Env.config.FlushServer {
		if err := c.flush(); err != nil {
			return fmt.Errorf("memcache: flush for missed writes: %w", err)
		}
	}
	c.patience = max(s.Env.limits.LongestProbe(), leastPatience)
	if err := c.deleteAll(batch.keys, s.Missed.settle); err != nil {
		return fmt.Errorf("memcache: delete missed writes: %w", err)
	}
	if batch.overflow {
		s.Missed.settleOverflow()
	}
	if c.refused > 0 {
		return faults.Blameless(fmt.Errorf("%w: %d", errNotDeleted, c.refused))
	}
	return nil
}

// exorcise deletes once more what may have arrived after its first deletion.
func (s *Server) exorcise(ctx context.Context) error {
	batch := s.Missed.zombies()
	if len(batch.keys) == 0 {
		return nil
	}
	if !backoff.Pause(ctx, zombieDelay) {
		return ctx.Err()
	}
	batch.overflow = false // dealt with
	return s.replayOnce(ctx, batch)
}

func (c *session) flush() error {
	if _, err := c.conn.Write([]byte("flush_all\r\n")); err != nil {
		return err
	}
	line, err := protocol.ReadLine(c.in)
	if err != nil {
		return err
	}
	if got := protocol.ParseLine(protocol.OpFlush, line); got.Err != nil {
		return refusedSession(line, got.Err)
	}
	return nil
}

// deleteAll deletes in batches, each settled as soon as it is done: over a long way, all of them
// may take longer than one replay may. Keys whose deletion was refused are not settled.
func (c *session) deleteAll(keys map[string]MissedKey, settle func(map[string]MissedKey)) error {
	batch := make([]string, 0, min(len(keys), ReplayBatch))
	send := func() error {
		done, err := c.deleteBatch(batch)
		if err == nil {
			settled := make(map[string]MissedKey, len(done))
			for _, key := range done {
				settled[key] = keys[key]
			}
			settle(settled)
		}
		batch = batch[:0]
		return err
	}
	for key := range keys {
		if batch = append(batch, key); len(batch) == ReplayBatch {
			if err := send(); err != nil {
				return err
			}
		}
	}
	return send()
}

// deleteBatch returns the keys that are gone. It counts a surplus reply as a failure: it would be
// taken for that of a deletion which the server refuses.
func (c *session) deleteBatch(keys []string) (gone []string, err error) {
	timer := time.AfterFunc(c.patience, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
	defer timer.Stop()
	c.done = false // it may be so after the batch before
	var commands []byte
	for _, key := range keys {
		commands = protocol.AppendRequest(commands, protocol.OpDelete.Word(), &protocol.Request{Op: protocol.OpDelete, Key: key})
	}
	if _, err := c.conn.Write(append(commands, c.ending...)); err != nil {
		return nil, err
	}
	gone = make([]string, 0, len(keys))
	for _, key := range keys {
		line, err := protocol.ReadLine(c.in)
		if err != nil {
			return nil, err
		}
		switch got := protocol.ParseLine(protocol.OpDelete, line); {
		case got.Err == nil, errors.Is(got.Err, gomemcache.ErrCacheMiss):
			gone = append(gone, key)
		case protocol.IsErrorLine(line) && !protocol.TurnedAway(line):
			c.refused++ // as by a proxy whose backend for the key is dead
		default:
			return nil, refusedSession(line, got.Err)
		}
	}
	return gone, c.canary()
}

// ReplaySoon replays in the background, for a server that is up: after a time-out that did not trip
// it, and for what was missed between the last replay and the re-admission. It outlives the call
// that asked for it.
//
//nolint:contextcheck // see above.
func (s *Server) ReplaySoon() {
	if !s.replays() || !s.replaying.CompareAndSwap(false, true) {
		return
	}
	s.Env.Spawn(func() {
		for s.replays() && s.replayInBackground() {
		}
		s.endReplay()
	})
}

// endReplay lets the next begin, and begins it for what came after the last look and found this one
// still under way.
func (s *Server) endReplay() {
	s.replaying.Store(false)
	s.ReplaySoon()
}

// replays reports whether there is something to delete, and a server to ask.
func (s *Server) replays() bool { return s.Missed.Pending() && !s.IsDown() }

// replayInBackground is one try, and the pause before the next. It is false once the client is
// closed.
func (s *Server) replayInBackground() bool {
	ctx, cancel := context.WithTimeout(s.Env.Ctx, replayTime)
	defer cancel()
	err := s.replay(ctx)
	if err == nil {
		err = s.exorcise(ctx)
	}
	switch {
	case err != nil:
		s.charge(err)
		return backoff.Pause(s.Env.Ctx, replayPause)
	case s.Missed.open():
		// The watch sees to it that no connection takes longer than Timeout, even if nobody waits
		// there any more.
		s.watch.arm()
		// Each look is at all keys, under the lock that reads need while there are any: the more
		// there are, the rarer it is.
		return backoff.Pause(s.Env.Ctx, openPause+time.Duration(s.Missed.Len())*time.Microsecond)
	}
	return true
}
