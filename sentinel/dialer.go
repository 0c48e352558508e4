package sentinel

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/holdfast-go/holdfast/sentinel/internal/director"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// Dialer opens connections to the primary of one name for another Redis client, and ends them once
// they lead to the primary no more. Package sentinel/goredis builds on it; redigo and rueidis take
// DialContext as it is. It is safe for concurrent use.
//
// Its connections refuse a write at once while there is no primary, and hold commands that change
// data back while a failover is under way, for Options.FenceWait at most. Their errors have
// ErrNotSent or ErrOutcomeUnknown in them, but for time-outs by a deadline that the other client
// has set. They log nobody in and select no database: the other client does that.
// Options.DialTimeout, AddrMap, and Dial and TLS of Options.Server apply.
type Dialer struct {
	primary *director.Primary // nil if the name is not followed
	err     error             // why
}

// Dialer returns a Dialer to the primary of a name. If the client does not follow the name, all of
// its calls return ErrUnknownPrimary.
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

// DialContext opens a connection to the present primary, whatever the network and address are.
// While there is none it fails at once with ErrNoPrimary, and does not dial.
func (d *Dialer) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	if err := d.unusable(); err != nil {
		return nil, err
	}
	return d.primary.Dial(ctx)
}

// Admit reports whether a command may be sent now. While there is no primary it returns
// ErrNoPrimary, at once. If the command may change data and a failover is under way, it waits for
// the end of that, for Options.FenceWait at most, and returns ErrFailover if that was too short. It
// is for clients that would otherwise take a connection from a pool and wait with it.
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
	return d.primary.Admit(ctx, class)
}

// Suspect has the primary asked for its role now. It is for clients that got a reply such as
// READONLY, which no primary sends.
func (d *Dialer) Suspect() {
	if d.unusable() == nil {
		d.primary.Alarmed(d.primary.Name, d.primary.Seat().Generation)
	}
}

// Writes reports whether a command may change data, by its name. It is true of commands that are
// not redis' own.
func Writes(command string) bool {
	return wire.ClassOf([]byte(strings.ToUpper(command)))&wire.Writes != 0
}
