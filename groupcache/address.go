package groupcache

import (
	"github.com/holdfast-go/holdfast/groupcache/internal/httppeer"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// address returns the address of a peer as the ring and the network have it, or tells what is wrong
// with it.
func (o Options) address(s string) (string, error) {
	if o.Network != nil {
		return s, o.Network.CheckAddress(s)
	}
	return httppeer.BaseURL(s)
}

// checkSelf says in the log, once, that this process is not among its peers as it knows itself.
func (p *pool) checkSelf(urls []string) {
	self := p.Self()
	if self == "" || len(urls) == 0 || p.selfChecked.Load() {
		return
	}
	same := ""
	for _, u := range urls {
		if u == self {
			return
		}
		if same == "" && httppeer.SameAddress(u, self) {
			same = u
		}
	}
	if p.selfChecked.Swap(true) {
		return
	}
	if same != "" {
		p.instance.log.Warn("groupcache: this process is among the peers by another spelling, and asks itself like a stranger: write Self as it stands in the list",
			"self", httppeer.Shown(self), "listed", httppeer.Shown(same))
		return
	}
	p.instance.log.Warn("groupcache: this process is not among its peers and owns no keys: give all processes the same list, with Self in it", "self", httppeer.Shown(self))
}

// addresses are those of peers as the ring has them, each once, in their order, and what is wrong
// with the others.
func (p *pool) addresses(urls []string) (good []string, bad []error) {
	seen := make(map[string]bool, len(urls))
	for _, u := range urls {
		addr, err := p.options.address(u)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		if !seen[addr] {
			seen[addr] = true
			good = append(good, addr)
		}
	}
	return good, bad
}

// selfOf is the address of this process. What is none is said in the log, as the original takes
// anything.
func (i *Instance) selfOf(self string, o Options) string {
	if self == "" {
		return ""
	}
	addr, err := o.address(self)
	if err != nil {
		i.log.Error("groupcache: the address of this process is not one of a peer", observe.Cause(err))
		return self
	}
	return addr
}
