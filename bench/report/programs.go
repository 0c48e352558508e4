package main

import (
	"fmt"

	"github.com/holdfast-go/holdfast/bench/internal/tables"
)

// program is one of the benchmarks, as the report runs it.
type program struct {
	name, folder, title string
	// args are those of a whole run, quick of a short one, and smoke of one that is only to show
	// that nothing is far off; nil: it has no part in that.
	args, quick, smoke []string
}

// programs are run in this order.
func programs() []program {
	return []program{
		{
			name: "memcache", folder: "memcache", title: "memcached: beside gomemcache, one server",
			args:  []string{"-w", "get,set,mix,multi10,get4k,large1pc"},
			quick: []string{"-w", "get,set,multi10", "-rounds", "3", "-duration", "300ms"},
			smoke: []string{"-w", "get,multi10", "-g", "8,64", "-rounds", "3", "-duration", "200ms"},
		},
		{
			name: "far", folder: "memcache", title: "memcached: with 200 µs more of round trip",
			args:  []string{"-w", "get", "-g", "8,64,256", "-delay", "200us"},
			quick: []string{"-w", "get", "-g", "8,64", "-delay", "200us", "-rounds", "3", "-duration", "300ms"},
		},
		{
			name: "sentinel", folder: "sentinel", title: "Redis: beside radix, go-redis and rueidis",
			args:  []string{},
			quick: []string{"-quick"},
			smoke: []string{"-only", "allocations,throughput", "-clients", "holdfast,go-redis,rueidis", "-p", "64", "-rounds", "3", "-duration", "100ms"},
		},
		{
			name: "clients", folder: "sentinel", title: "Redis: other clients through ours",
			args: []string{
				"-together", "-runs", "3", "-rate", "800", "-only", "planned,crash,hung",
				"-clients", "holdfast+go-redis,go-redis,holdfast+AutoPipeline,holdfast+FullDuplex,holdfast+redigo,holdfast+rueidis",
			},
			quick: []string{"-together", "-runs", "1", "-rate", "800", "-only", "planned,crash", "-clients", "holdfast+go-redis,go-redis,holdfast+redigo,holdfast+rueidis"},
		},
		{
			name: "autorefresh", folder: "autorefresh", title: "autorefresh: beside otter and sturdyc",
			args:  []string{},
			quick: []string{"-quick"},
			smoke: []string{"-quick", "-only", "get"},
		},
		{
			name: "groupcache", folder: "groupcache", title: "groupcache: beside golang/groupcache",
			args:  []string{},
			quick: []string{"-rounds", "3"},
			smoke: []string{"-rounds", "3", "-duration", "100ms", "-only", "hit,miss,peer,frames,multi"},
		},
		{
			name: "grpcpeer", folder: "grpcpeer", title: "groupcache: gRPC beside HTTP",
			args:  []string{},
			quick: []string{"-quick"},
		},
		{
			name: "rolling", folder: "rolling", title: "groupcache: a rolling restart",
			args:  []string{},
			quick: []string{"-quick"},
		},
		{
			name: "hitratio", folder: "hitratio", title: "groupcache: hit ratios",
			args:  []string{},
			quick: []string{},
		},
	}
}

// bound is what a figure has to be in every run. Allocations do not depend on the machine and are
// exact, but for what a client does in the background; ratios do, and their bounds are where
// something is wrong and not only slow.
type bound struct {
	program, table, column string
	row                    []string
	least, most            float64
}

func bounds() []bound {
	const (
		endless = 1e9
		calls   = "allocations: of a call"
		hits    = "hits: a value of 100 bytes among 1 024"
		misses  = "misses: a load of 100 bytes, the cache full"
		frames  = "frames: gets from another process"
	)
	return []bound{
		{"memcache", "get", "÷ raw", []string{"8"}, .3, endless},
		{"memcache", "get", "÷ raw", []string{"64"}, .8, endless},
		{"memcache", "multi10", "÷ raw", []string{"64"}, .5, endless},
		{"sentinel", calls, "GET", []string{"holdfast"}, 2.8, 3.2}, // what goes on in the background adds a little
		{"sentinel", calls, "GET, deadline", []string{"holdfast"}, 2.8, 3.2},
		{"sentinel", calls, "SET", []string{"holdfast"}, 0.8, 1.2},
		{"sentinel", calls, "SET, deadline", []string{"holdfast"}, 0.8, 1.2},
		{"sentinel", "throughput: 64-byte values, one server", "÷ best other", []string{"holdfast", "GET, deadline"}, .4, endless},
		{"autorefresh", "get: target 5: a read, 100 000 keys by Zipf's law", "holdfast", []string{"allocations of a read"}, 0, 0.001},
		{"autorefresh", "get: target 5: a read, 100 000 keys by Zipf's law", "holdfast", []string{"bounded, 1000 keys: a read ÷ bare otter's"}, 0, 3},
		{"groupcache", hits, "allocations", []string{"1", "holdfast, View"}, 0, 0},
		{"groupcache", hits, "allocations", []string{"1", "holdfast, ByteViewSink"}, 1, 1},
		{"groupcache", hits, "÷ golang", []string{"1", "holdfast, View"}, 0, .6},
		{"groupcache", misses, "allocations", []string{"1", "holdfast, ByteViewSink"}, 6.8, 7.2},
		{"groupcache", misses, "÷ golang", []string{"1", "holdfast, ByteViewSink"}, 0, 3},
		{"groupcache", frames, "allocations", []string{"64", "100", "frames"}, 9, 11},
		{"groupcache", frames, "÷ golang", []string{"64", "100", "frames"}, 1.3, endless},
	}
}

// check returns an error that names the figure if it is out of bounds.
func (b bound) check(book *tables.Book) error {
	for _, t := range book.Tables {
		if t.Title != b.table {
			continue
		}
		got, err := t.Number(b.column, b.row...)
		if err == nil && (got < b.least || got > b.most) {
			err = fmt.Errorf("%q, %q of %q is %v, which is not between %v and %v", b.table, b.column, b.row, got, b.least, b.most)
		}
		return err
	}
	return fmt.Errorf("there is no table %q", b.table)
}
