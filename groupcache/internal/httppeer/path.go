// Package httppeer is the wire between groupcache peers over HTTP: the original's, and what peers
// of ours know beyond it.
package httppeer

import (
	"net/url"
	"strings"
)

// The headers of peers of ours.
const (
	// Marker is sent with every request and every answer of ours. Its value is the version,
	// MarkerValue, or MarkerRefused if the request did not reach a group.
	Marker        = "X-Holdfast-Groupcache"
	MarkerValue   = "1"
	MarkerRefused = "refused"
	// ringHeader in the answer to a probe names the ring that the peer would use, if all do, and
	// ringUsedHeader says that it does.
	ringHeader     = "X-Holdfast-Ring"
	ringUsedHeader = "X-Holdfast-Ring-Used"
	// zoneHeader says where a process is: in a probe, that of who asks, and only then in the
	// answer, whose proof has it, as other versions do not know.
	zoneHeader = "X-Holdfast-Zone"
	// pathHeader makes of a GET or POST of the base path a test of the way to the peer; its answer
	// has it, too, with the length of the body.
	pathHeader = "X-Holdfast-Path"
	// greetingHeader makes of a GET of the base path what OPTIONS is, for where that is not
	// mounted.
	greetingHeader = "X-Holdfast-Greeting"
	// framesHeader in the answer to a greeting says that its sender takes frames.
	framesHeader = "X-Holdfast-Frames"
	// protocol is what the headers of the upgrade call frames.
	protocol = "holdfast-frames/1"
	// quietHeader asks for an answer without signs of life: they do not survive the way.
	quietHeader = "X-Holdfast-Quiet"
	// statusHeader has the status of an answer, which something on the way may replace.
	statusHeader = "X-Holdfast-Status"
	// CachedOnly in the place of the key of a POST asks for cached values, and no loads.
	CachedOnly = "cached"
	// Offered in the place of the key of a POST offers keys. The first one in the body is the
	// address of the peer that has them.
	Offered = "offered"
	// Removed in the place of the key of a POST removes the keys in the body.
	Removed = "removed"
	// ContentType is that of requests and answers with a body.
	ContentType = "application/x-protobuf"
)

// Escape makes a group or key fit for a path.
func Escape(s string) string {
	switch s {
	case ".":
		return "%2E"
	case "..":
		return "%2E%2E"
	}
	return url.PathEscape(s)
}

// Split takes the group and the key out of an escaped path below base. A path without a slash
// behind the group has none.
func Split(base, escaped string) (group, key string, ok bool) {
	rest, ok := strings.CutPrefix(escaped, base)
	if !ok {
		return "", "", false
	}
	g, k, ok := strings.Cut(rest, "/")
	if !ok {
		return "", "", false
	}
	group, err := url.PathUnescape(g)
	if err != nil {
		return "", "", false
	}
	key, err = url.PathUnescape(k)
	return group, key, err == nil
}

// splitGroup takes the group out of an escaped path below base that has no key.
func splitGroup(base, escaped string) (group string, ok bool) {
	rest, below := strings.CutPrefix(escaped, base)
	if !below || rest == "" || strings.Contains(rest, "/") {
		return "", false
	}
	group, err := url.PathUnescape(rest)
	return group, err == nil
}
