package testutil

import (
	"fmt"
	"os"
	"slices"
	"time"
)

// run carries out a request and appends the reply to buf.
func (l *life) run(r *request, buf []byte) []byte {
	now := time.Now()
	line := r.verdict
	switch {
	case r.Verb == "mg" && l.fake.options.Meta && len(r.Args) > 0:
		return l.metaGet(r, buf, now)
	case line == replyTooLarge && r.Verb == "set":
		l.store.remove(r.Keys[0], now) // else the old value would outlive its replacement
	case line != "":
	case r.IsGet():
		return l.get(r, buf, now)
	case r.Verb == "stats" && len(r.Args) == 0:
		return l.stats(buf, now)
	default:
		line = l.change(r, now)
	}
	if r.NoReply {
		return buf
	}
	return append(append(buf, line...), "\r\n"...)
}

// change carries out everything that is answered with one line.
func (l *life) change(r *request, now time.Time) string {
	switch r.Verb {
	case "incr", "decr":
		return l.store.count(r.Verb, r.Keys[0], r.number, now)
	case "touch":
		if l.store.touch(r.Keys[0], expiry(r.seconds, now), now) {
			return replyTouched
		}
		return replyNotFound
	case "delete":
		l.fake.counters.deleted(r.Keys[0])
		if l.store.remove(r.Keys[0], now) {
			return replyDeleted
		}
		return replyNotFound
	case "flush_all":
		l.store.flush(expiry(r.seconds, now), now)
		return "OK"
	case "verbosity":
		return "OK"
	case "version":
		return "VERSION " + l.fake.options.Version
	case "stats":
		return statsOf(r.Args[0])
	default: // the storage commands
		fresh := item{key: r.Keys[0], flags: r.flags, value: r.Data, expires: expiry(r.seconds, now)}
		return l.store.save(r.Verb, fresh, r.number, now)
	}
}

// statsOf answers stats with an argument: the groups of memcached that a fake has no figures for
// are empty.
func statsOf(group string) string {
	switch group {
	case "reset":
		return "RESET"
	case "items", "slabs", "sizes", "settings", "conns":
		return replyEnd
	default:
		return replyError
	}
}

func (l *life) get(r *request, buf []byte, now time.Time) []byte {
	var touch func(*item)
	if r.Verb == "gat" || r.Verb == "gats" {
		touch = func(found *item) { found.expires = expiry(r.seconds, now) }
	}
	for _, key := range r.Keys {
		found, ok := l.store.get(key, now, touch)
		if !ok {
			continue
		}
		buf = fmt.Appendf(buf, "VALUE %s %d %d", key, found.flags, len(found.value))
		if r.Verb == "gets" || r.Verb == "gats" {
			buf = fmt.Appendf(buf, " %d", found.cas)
		}
		buf = append(append(append(buf, "\r\n"...), found.value...), "\r\n"...)
	}
	return append(buf, replyEnd+"\r\n"...)
}

// metaGet carries out mg. It returns the flags in their order.
func (l *life) metaGet(r *request, buf []byte, now time.Time) []byte {
	found, ok := l.store.get(r.Args[0], now, nil)
	if !ok {
		return append(buf, "EN\r\n"...)
	}
	flags := r.Args[1:]
	withValue := slices.Contains(flags, "v")
	if buf = append(buf, "HD"...); withValue {
		buf = fmt.Appendf(buf[:len(buf)-2], "VA %d", len(found.value))
	}
	for _, flag := range flags {
		switch flag {
		case "c":
			buf = fmt.Appendf(buf, " c%d", found.cas)
		case "f":
			buf = fmt.Appendf(buf, " f%d", found.flags)
		case "t":
			left := int64(-1)
			if !found.expires.IsZero() {
				left = int64(found.expires.Sub(now) / time.Second)
			}
			buf = fmt.Appendf(buf, " t%d", left)
		}
	}
	if buf = append(buf, "\r\n"...); withValue {
		buf = append(append(buf, found.value...), "\r\n"...)
	}
	return buf
}

func (l *life) stats(buf []byte, now time.Time) []byte {
	items, traffic := l.store.stats(), l.fake.Stats()
	for _, stat := range []struct {
		name  string
		value any
	}{
		{"pid", os.Getpid()},
		{"uptime", int(now.Sub(l.born).Seconds())},
		{"time", now.Unix()},
		{"version", l.fake.options.Version},
		{"curr_connections", traffic.Open},
		{"total_connections", traffic.Accepted},
		{"bytes_read", traffic.BytesIn},
		{"bytes_written", traffic.BytesOut},
		{"limit_maxbytes", l.fake.options.MaxBytes},
		{"curr_items", items.items},
		{"bytes", items.bytes},
		{"evictions", items.evictions},
	} {
		buf = fmt.Appendf(buf, "STAT %s %v\r\n", stat.name, stat.value)
	}
	return append(buf, replyEnd+"\r\n"...)
}
