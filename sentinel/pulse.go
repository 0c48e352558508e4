package sentinel

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

const (
	beatInterval = 100 * time.Millisecond
	// pulseTick is how often silence is judged. A tick that comes late counts for little more than one that does not: the process was
	// starved then, and the answer may be there unread.
	pulseTick = 25 * time.Millisecond
	tickWorth = pulseTick * 3 / 2
)

// pulse asks the primary for its role ten times a second, on a connection of its own, and judges its silence.
type pulse struct {
	primary    *primary
	addr       string
	beats      *atomic.Int64
	link       atomic.Pointer[link] // whose connection carries the calls
	generation uint64
	timeout    time.Duration
	cancel     context.CancelFunc
	now        chan struct{} // asks for a beat now; capacity 1
	conn       *wire.Conn    // of the beat that is under way, or of the last
	dialling   atomic.Bool   // the beat under way waits for its connection

	mu        sync.Mutex
	connected time.Time // when conn was opened; guarded by mu
	asked     time.Time // when the last question was asked on it that was answered as a primary does; guarded by mu
	vouched   notifier  // of changes of these
}

// startPulse begins to judge a primary that was just made one.
//
//nolint:contextcheck // it belongs to the client.
func (s *succession) startPulse(l *link, generation uint64) *pulse {
	c := s.director.client
	ctx, cancel := context.WithCancel(c.ctx)
	b := &pulse{
		primary: s.primary, addr: l.addr, beats: l.beats, generation: generation, timeout: c.options.HeartbeatTimeout, cancel: cancel, now: make(chan struct{}, 1),
	}
	b.link.Store(l)
	c.spawn(func() {
		err := b.run(ctx)
		cancel()
		c.director.post(func() {
			if s.pulse == b {
				s.lose(err)
			}
		})
	})
	return b
}

func (b *pulse) stop() {
	if b != nil {
		b.cancel()
	}
}

func (b *pulse) beatNow() {
	if b != nil {
		signal(b.now)
	}
}

// beaten is the end of one beat.
type beaten struct{ err error }

// run returns why the server is no primary any more, or that ctx has ended.
func (b *pulse) run(ctx context.Context) error {
	defer func() {
		if b.conn != nil {
			b.conn.End(wire.ErrRetired)
		}
	}()
	results := make(chan beaten, 1)
	for {
		go func() { results <- beaten{b.beat(ctx)} }()
		if err := b.await(ctx, results); err != nil {
			return err
		}
		if !sleep(ctx, beatInterval, b.now) {
			return ctx.Err()
		}
	}
}

// await waits for the end of a beat. If the server is silent for too long it ends the beat.
func (b *pulse) await(ctx context.Context, results <-chan beaten) error {
	ticker := time.NewTicker(pulseTick)
	defer ticker.Stop()
	last, heard, silent := time.Now(), b.heard(), time.Duration(0)
	for {
		select {
		case r := <-results:
			return r.err
		case <-ticker.C:
		}
		now := time.Now()
		if !b.dialling.Load() || b.link.Load().conn.InFlight() > 0 { // a slow dial alone is judged by its own limit
			silent += min(now.Sub(last), tickWorth)
		}
		last = now
		if h := b.heard(); h != heard {
			heard, silent = h, 0
		}
		if silent >= b.timeout {
			b.cancel()
			<-results
			return fmt.Errorf("%w: %s sent nothing for %v", errHung, b.addr, silent.Round(time.Millisecond))
		}
		if ctx.Err() != nil {
			return (<-results).err
		}
	}
}

// heard is when the server was last heard at all.
func (b *pulse) heard() int64 { return max(b.link.Load().heard.Load(), b.beats.Load()) }

// vouch waits for an answer to a question asked after the moment given, on a connection that was there before it: the server is still
// the same process then, and the primary.
func (b *pulse) vouch(ctx context.Context, since time.Time) error {
	b.beatNow()
	for {
		changed := b.vouched.wait()
		b.mu.Lock()
		connected, asked := b.connected, b.asked
		b.mu.Unlock()
		switch {
		case !connected.Before(since):
			return errors.New("the heartbeat's connection was lost as well")
		case !asked.Before(since):
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("the heartbeat has no answer: %w", ctx.Err())
		}
	}
}

// note keeps what vouch looks at.
func (b *pulse) note(connected, asked time.Time) {
	b.mu.Lock()
	b.connected, b.asked = connected, asked
	b.mu.Unlock()
	b.vouched.notify()
}

// beat asks for the role. A connection that was lost is opened again: only if that fails is the server at fault.
func (b *pulse) beat(ctx context.Context) error {
	for try := 0; ; try++ {
		if err := b.connect(ctx); err != nil {
			return err
		}
		asked := time.Now()
		r, err := askRole(ctx, b.conn)
		switch {
		case err == nil && r.primary:
			b.primary.offset.Store(r.offset)
			b.note(b.connected, asked)
			return nil
		case err == nil:
			return fmt.Errorf("%s: %w", b.addr, errDemoted)
		}
		if _, replied := errorReply(err); replied || ctx.Err() != nil || try > 0 {
			return err
		}
		if f := (*wire.Failure)(nil); !errors.As(err, &f) {
			return err
		}
		b.conn.End(err)
		b.conn = nil
	}
}

func (b *pulse) connect(ctx context.Context) error {
	if b.conn != nil {
		return nil
	}
	b.dialling.Store(true)
	defer b.dialling.Store(false)
	conn, err := b.primary.client.servers.connect(ctx, b.addr, wire.Options{Heard: b.beats})
	b.conn = conn
	b.note(time.Now(), time.Time{})
	return err
}
