package sentinel

import (
	"net"
	"strings"
)

// The events of sentinels that matter here: https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/#pubsub-messages.
const (
	pushSelected = "+selected-slave"
	pushPromoted = "+promoted-slave"
	pushSwitch   = "+switch-master"
)

// pushChannels are what a client subscribes to.
func pushChannels() []string {
	return []string{
		pushSelected, pushPromoted, pushSwitch,
		"-failover-abort-slave-timeout", "-failover-abort-no-good-slave", "-failover-abort-not-elected",
		"-failover-abort-master-is-back", "-failover-abort-x-sdown",
		"+odown", "-odown", "+sdown", "-sdown", "+slave", "+sentinel", "+reset-master", "+convert-to-slave", "+failover-end",
	}
}

// push is one such event.
type push struct {
	channel string
	name    string // of the primary
	addr    string // of the replica that is selected or promoted, or of the primary that is switched to
}

// parsePush reads the two shapes of payloads that there are: "<name> <old ip> <old port> <new ip> <new port>" of +switch-master, and
// "<type> <name> <ip> <port> @ <primary> <ip> <port>", whose second half is left out if it would repeat the first.
func parsePush(channel, payload string) (push, bool) {
	f := strings.Fields(payload)
	p := push{channel: channel}
	switch {
	case channel == pushSwitch:
		if len(f) != 5 {
			return push{}, false
		}
		p.name, p.addr = f[0], net.JoinHostPort(f[3], f[4])
	case len(f) >= 4 && f[0] == "master":
		p.name, p.addr = f[1], net.JoinHostPort(f[2], f[3])
	case len(f) >= 8 && f[4] == "@":
		p.name, p.addr = f[5], net.JoinHostPort(f[2], f[3])
	default:
		return push{}, false
	}
	return p, checkAddr(p.addr) == nil
}
