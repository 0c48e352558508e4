package watch

import (
	"net"
	"strings"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// The events of sentinels that matter here:
// https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/#pubsub-messages.
const (
	Selected = "+selected-slave"
	Promoted = "+promoted-slave"
	Switched = "+switch-master"
)

// pushChannels are the channels to subscribe to.
func pushChannels() []string {
	return []string{
		Selected, Promoted, Switched,
		"-failover-abort-slave-timeout", "-failover-abort-no-good-slave", "-failover-abort-not-elected",
		"-failover-abort-master-is-back", "-failover-abort-x-sdown",
		"+odown", "-odown", "+sdown", "-sdown", "+slave", "+sentinel", "+reset-master", "+convert-to-slave", "+failover-end",
	}
}

// Push is one such event.
type Push struct {
	Channel string
	// Name is that of the primary.
	Name string
	// Addr is that of the replica that is selected or promoted, or of the primary that is switched
	// to.
	Addr string
}

// ParsePush reads the two shapes of payloads that there are: "<name> <old ip> <old port> <new ip>
// <new port>" of +switch-master, and "<type> <name> <ip> <port> @ <primary> <ip> <port>", whose
// second half is left out if it would repeat the first.
func ParsePush(channel, payload string) (Push, bool) {
	f := strings.Fields(payload)
	p := Push{Channel: channel}
	switch {
	case channel == Switched:
		if len(f) != 5 {
			return Push{}, false
		}
		p.Name, p.Addr = f[0], net.JoinHostPort(f[3], f[4])
	case len(f) >= 4 && f[0] == "master":
		p.Name, p.Addr = f[1], net.JoinHostPort(f[2], f[3])
	case len(f) >= 8 && f[4] == "@":
		p.Name, p.Addr = f[5], net.JoinHostPort(f[2], f[3])
	default:
		return Push{}, false
	}
	return p, CheckAddr(p.Addr) == nil
}

// Kind is the kind of the event.
func (p Push) Kind() follow.PushKind {
	switch {
	case p.Channel == Selected:
		return follow.Selected
	case p.Channel == Promoted:
		return follow.Promoted
	case p.Channel == Switched:
		return follow.Switched
	case strings.HasPrefix(p.Channel, "-failover-abort"):
		return follow.Aborted
	}
	return follow.Other
}
