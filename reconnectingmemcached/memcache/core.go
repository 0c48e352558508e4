package memcache

import (
	"sync"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/fleet"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/gutter"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/lists"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/loads"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/picker"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// core is a running client: the first use starts it, and Close ends it. The next use starts
// another.
type core struct {
	*fleet.Fleet

	options Options // with defaults
	picker  picker.Picker
	roll    *fleet.Roll    // nil: no selector
	gutter  *gutter.Gutter // nil: off
	lists   *lists.Lists   // nil: no Options.Source
	loads   loads.Board
}

// newCore starts nothing yet: goroutines come with the first connection.
func newCore(name string, o Options, selector ServerSelector) *core {
	c := &core{options: o.withDefaults()}
	c.options.NoReplay = c.soundly(c.options.NoReplay)
	config := c.options.config(name)
	config.Fell = func() { c.gutter.Fell() }
	c.Fleet = fleet.New(config)
	c.lists = lists.New(c.Fleet, c.options.listOptions())
	switch {
	case selector != nil:
		c.picker = &picker.Selected{Fleet: c.Fleet, Selector: selector}
		c.roll = fleet.Call(c.Fleet, selector.Each)
	case c.lists != nil:
		c.picker = c.lists
	default:
		c.picker = picker.New(c.Fleet, c.options.Hash.kind(), o.Servers)
	}
	c.gutter = gutter.New(c.Fleet, c.picker, c.options.gutterOptions())
	c.gutter.Start()
	c.lists.Start()
	return c
}

// soundly makes a function of the caller's one that does not panic, as it is also asked on
// goroutines of ours: then the key is none of those it says yes to, and the log is told once.
func (c *core) soundly(is func(key string) bool) func(key string) bool {
	if is == nil {
		return nil
	}
	var told sync.Once
	return func(key string) bool {
		defer func() {
			if v := recover(); v != nil {
				told.Do(func() { c.Log.Error("Options.NoReplay panicked", "panic", v) })
			}
		}()
		return is(key)
	}
}

// config is the part of the options that is about servers.
func (o Options) config(name string) server.Config {
	return server.Config{
		Name: name, Timeout: o.Timeout, HangTimeout: o.HangTimeout, ProbeTimeout: o.ProbeTimeout,
		ResolveInterval: o.ResolveInterval, Linger: o.Linger, MaxIdleConns: o.MaxIdleConns, MaxInFlight: o.MaxInFlight,
		MaxItemSize: o.MaxItemSize, ConsecutiveFailures: o.ConsecutiveFailures, KeepCanceledSets: o.KeepCanceledSets,
		PlainGet: o.PlainGet, FlushServer: o.Overflow == FlushServer, DialContext: o.DialContext, TLS: o.TLS,
		Credentials: o.Credentials, NoReplay: o.NoReplay, Logger: o.Logger, Trace: o.Trace,
		Windows: o.Gutter.Expiration > 0 || o.Linger > 0, Care: gutter.CareTime(o.Gutter.Expiration, o.Timeout),
	}
}

// close cuts all calls, and waits for all goroutines.
func (c *core) close() {
	c.roll.Stop()
	c.Close()
}
