package sentinel

import (
	"context"
	"errors"
	"fmt"
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
	link       *link
	generation uint64
	timeout    time.Duration
	cancel     context.CancelFunc
	now        chan struct{} // asks for a beat now; capacity 1
	conn       *wire.Conn    // of the beat that is under way, or of the last
	dialling   atomic.Bool   // the beat under way waits for its connection
}

// startPulse begins to judge a primary that was just made one.
//
//nolint:contextcheck // it belongs to the client.
func (s *succession) startPulse(l *link, generation uint64) *pulse {
	c := s.director.client
	ctx, cancel := context.WithCancel(c.ctx)
	b := &pulse{
		primary: s.primary, link: l, generation: generation, timeout: c.options.HeartbeatTimeout, cancel: cancel, now: make(chan struct{}, 1),
	}
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
	last, heard, silent := time.Now(), b.link.heard.Load(), time.Duration(0)
	for {
		select {
		case r := <-results:
			return r.err
		case <-ticker.C:
		}
		now := time.Now()
		if !b.dialling.Load() || b.link.conn.InFlight() > 0 { // a slow dial alone is judged by its own limit
			silent += min(now.Sub(last), tickWorth)
		}
		last = now
		if h := b.link.heard.Load(); h != heard {
			heard, silent = h, 0
		}
		if silent >= b.timeout {
			b.cancel()
			<-results
			return fmt.Errorf("%w: %s sent nothing for %v", errHung, b.link.addr, silent.Round(time.Millisecond))
		}
		if ctx.Err() != nil {
			return (<-results).err
		}
	}
}

// beat asks for the role. A connection that was lost is opened again: only if that fails is the server at fault.
func (b *pulse) beat(ctx context.Context) error {
	for try := 0; ; try++ {
		if err := b.connect(ctx); err != nil {
			return err
		}
		r, err := askRole(ctx, b.conn)
		switch {
		case err == nil && r.primary:
			b.primary.offset.Store(r.offset)
			return nil
		case err == nil:
			return fmt.Errorf("%s: %w", b.link.addr, errDemoted)
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
	conn, err := b.primary.client.servers.connect(ctx, b.link.addr, wire.Options{Heard: b.link.heard})
	b.conn = conn
	return err
}
