package sentinel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// Dialer opens connections to the primary of one name for another Redis client, and ends them once they lead to the primary no more.
// Package sentinel/goredis builds on it; redigo and rueidis take DialContext as it is. It is safe for concurrent use.
//
// Its connections refuse a write at once while there is no primary, and hold commands that change data back while a failover is under
// way, for Options.FenceWait at most. Their errors have ErrNotSent or ErrOutcomeUnknown in them, but for time-outs by a deadline that the
// other client has set. They log nobody in and select no database: the other client does that. Options.DialTimeout, AddrMap, and
// Dial and TLS of Options.Server apply.
type Dialer struct {
	primary *primary // nil if the name is not followed
	err     error    // why
}

// attempts is how often a dial begins again because the primary has changed meanwhile.
const attempts = 3

// Dialer returns a Dialer to the primary of a name. If the client does not follow the name, all of its calls return ErrUnknownPrimary.
func (c *Client) Dialer(name string) *Dialer {
	p, err := c.lookup(name)
	return &Dialer{primary: p, err: err}
}

// unusable is why there is nobody to dial, ever.
func (d *Dialer) unusable() error {
	if d.primary == nil {
		return cmp.Or(d.err, fmt.Errorf("%w: the Dialer is not from Client.Dialer", ErrUnknownPrimary))
	}
	return nil
}

// DialContext opens a connection to the present primary, whatever the network and address are. While there is none it fails at once with
// ErrNoPrimary, and does not dial.
func (d *Dialer) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	if err := d.unusable(); err != nil {
		return nil, err
	}
	p := d.primary
	for range attempts {
		s := p.seat.Load()
		if s.err != nil {
			p.metrics.refused.Add(1)
			return nil, s.err
		}
		conn, raw, err := p.client.servers.reach(ctx, s.addr)
		if err != nil {
			return nil, p.notSent(s.addr, err)
		}
		f := &followed{Conn: conn, raw: raw, primary: p, generation: s.generation, addr: s.addr}
		if !p.followers.add(f) {
			_ = raw.Close()
			continue
		}
		if socket, ok := conn.(syscall.Conn); ok {
			return followedSocket{f, socket}, nil
		}
		return f, nil
	}
	return nil, p.notSent(p.seat.Load().addr, fmt.Errorf("%w: the primary has changed during %d dials", ErrFailover, attempts))
}

// Admit tells whether a command may be sent now. While there is no primary it returns ErrNoPrimary, at once. If the command may change
// data and a failover is under way, it waits for the end of that, for Options.FenceWait at most, and returns ErrFailover if that was too
// short. It is for clients that would otherwise take a connection from a pool and wait with it.
//
//nolint:revive // the flag is what Writes returns
func (d *Dialer) Admit(ctx context.Context, write bool) error {
	if err := d.unusable(); err != nil {
		return err
	}
	class := wire.Class(0)
	if write {
		class = wire.Writes
	}
	s := d.primary.seat.Load()
	if s.err == nil && (s.fence == nil || !write) {
		return nil
	}
	_, err := d.primary.await(ctx, s, class)
	return err
}

// Suspect has the primary asked for its role now. It is for clients that got a reply such as READONLY, which no primary sends.
func (d *Dialer) Suspect() {
	if d.unusable() == nil {
		d.primary.client.director.alarmed(d.primary, d.primary.seat.Load().generation)
	}
}

// Writes tells whether a command may change data, by its name. It is true of commands that are not redis' own.
func Writes(command string) bool {
	return wire.ClassOf([]byte(strings.ToUpper(command)))&wire.Writes != 0
}

// reach dials addr, as the sentinels name it, and encrypts. It also returns the connection beneath the encryption.
func (d *connector) reach(ctx context.Context, addr string) (conn, raw net.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.client.options.DialTimeout)
	defer cancel()
	raw, mapped, err := d.dial(ctx, addr)
	if err != nil {
		return nil, nil, fmt.Errorf("dial %s: %w", mapped, err)
	}
	if conn, err = d.encrypt(ctx, raw, mapped); err != nil {
		_ = raw.Close()
		return nil, nil, fmt.Errorf("encrypt to %s: %w", mapped, err)
	}
	return conn, raw, nil
}

// lostError is the end of a connection of a Dialer. It wraps nothing: other clients look for io.EOF and net.Error in what they get, and
// send a command again if they find one, although it may have been carried out.
type lostError struct {
	text    string
	cause   error
	verdict error // ErrNotSent or ErrOutcomeUnknown
}

// Error says what became of the command, and why.
func (e *lostError) Error() string { return e.text }

// Is finds the errors of this package and of contexts.
func (e *lostError) Is(target error) bool {
	if target == e.verdict {
		return true
	}
	switch target {
	case ErrNoPrimary, ErrFailover, ErrClosed, context.Canceled, context.DeadlineExceeded:
		return errors.Is(e.cause, target)
	}
	return false
}

// unsentError is a lostError of a command that was not sent. Other clients take it for a passing error of the network, and try again.
type unsentError struct{ lostError }

var _ net.Error = (*unsentError)(nil)

// Timeout is false: some clients do not try again after a time-out.
func (*unsentError) Timeout() bool { return false }

// Temporary is true.
func (*unsentError) Temporary() bool { return true }

func (p *primary) notSent(addr string, cause error) error {
	return &unsentError{p.lost(addr, cause, ErrNotSent)}
}

func (p *primary) outcomeUnknown(addr string, cause error) error {
	e := p.lost(addr, cause, ErrOutcomeUnknown)
	return &e
}

func (p *primary) lost(addr string, cause, verdict error) lostError {
	text := cause.Error()
	if !errors.Is(cause, verdict) { // else it has the name and the address, too
		text = fmt.Sprintf("%v: %q at %s: %v", verdict, p.name, addr, cause)
	}
	return lostError{text: text, cause: cause, verdict: verdict}
}
