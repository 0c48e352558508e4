package sentinel

import (
	"log/slog"
	"time"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/sentinel/internal/director"
)

// EventKind is the kind of an Event.
type EventKind int

// The kinds of events.
const (
	// PrimaryUp: commands go to Addr from now on; Trigger says why.
	PrimaryUp = EventKind(director.PrimaryUp)
	// PrimaryDown: commands fail with ErrNoPrimary because of Cause.
	PrimaryDown = EventKind(director.PrimaryDown)
	// Fenced: writes wait, because Sentinel selected Candidate to take over from Addr.
	Fenced = EventKind(director.Fenced)
	// Unfenced: the failover to Candidate did not happen, writes go on to Addr.
	Unfenced = EventKind(director.Unfenced)
	// Confirmed: the sentinels have announced Addr, which the client had moved to before.
	Confirmed = EventKind(director.Confirmed)
	// Reverted: they have not, and the client goes back to Addr because of Cause.
	Reverted = EventKind(director.Reverted)
	// RoleMismatch: Candidate was named but does not say that it is the primary.
	RoleMismatch = EventKind(director.RoleMismatch)
	// SentinelUp and SentinelDown: the sentinel at Sentinel answers, or no longer does because of
	// Cause.
	SentinelUp   = EventKind(director.SentinelUp)
	SentinelDown = EventKind(director.SentinelDown)
	// Resubscribed: the subscription of Client.Subscribe is on Addr now; messages published in
	// between are lost.
	Resubscribed = SentinelDown + 1
	eventKinds   = Resubscribed + 1
)

// String is a few words for logs.
func (k EventKind) String() string {
	return [eventKinds]string{
		"primary up", "primary down", "writes fenced", "writes unfenced", "failover confirmed", "failover reverted", "role mismatch",
		"sentinel up", "sentinel down", "resubscribed",
	}[k]
}

// Event is one change, for Options.OnEvent and the log. Fields that its kind does not name are
// empty.
type Event struct {
	Kind      EventKind
	At        time.Time
	Primary   string // the name
	Addr      string
	Previous  string
	Candidate string
	Sentinel  string
	Trigger   string
	Epoch     int64 // config-epoch
	Cause     error
}

// tell announces an event of the Director's.
func (c *Client) tell(e director.Event) {
	told := Event{
		Kind: EventKind(e.Kind), Primary: e.Primary, Addr: e.Addr, Previous: e.Previous, Candidate: e.Candidate, Sentinel: e.Sentinel,
		Epoch: e.Epoch, Cause: e.Cause,
	}
	if told.Kind == PrimaryUp {
		told.Trigger = e.Trigger.String()
	}
	c.announce(told)
}

// announce tells the log and the user.
func (c *Client) announce(e Event) {
	e.At = time.Now()
	level := slog.LevelInfo
	switch e.Kind {
	case PrimaryDown, Reverted, RoleMismatch, SentinelDown:
		level = slog.LevelWarn
	}
	var attrs []slog.Attr
	for _, a := range []struct{ key, value string }{
		{observe.KeyEndpoint, e.Primary}, {"addr", e.Addr}, {"previous", e.Previous}, {"candidate", e.Candidate}, {"sentinel", e.Sentinel}, {"trigger", e.Trigger},
	} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.key, a.value))
		}
	}
	if e.Epoch != 0 {
		attrs = append(attrs, slog.Int64("epoch", e.Epoch))
	}
	if e.Cause != nil {
		attrs = append(attrs, observe.Cause(e.Cause))
	}
	c.log.LogAttrs(c.ctx, level, e.Kind.String(), attrs...)
	c.events.Post(e)
}
