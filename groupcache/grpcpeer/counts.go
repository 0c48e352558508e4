package grpcpeer

import (
	"sync/atomic"

	"google.golang.org/grpc/codes"
)

// counts are what a Network has done.
type counts struct {
	requests           [methods][codes.Unauthenticated + 1]atomic.Uint64
	connects, failures atomic.Uint64
}

// served counts a request of a peer. A code that gRPC does not have, which a Getter may have made
// up, counts as Unknown.
func (c *counts) served(method int, code codes.Code) {
	if code > codes.Unauthenticated {
		code = codes.Unknown
	}
	c.requests[method][code].Add(1)
}

func (c *counts) connected(err error) {
	if err != nil {
		c.failures.Add(1)
		return
	}
	c.connects.Add(1)
}

// ending is what became of a request, as a label.
type ending uint8

const (
	endedOK ending = iota
	endedRefused
	endedCanceled
	endedFailed
	endings
)

func (e ending) String() string { return [endings]string{"ok", "refused", "canceled", "failed"}[e] }

func endingOf(code codes.Code) ending {
	switch code {
	case codes.OK:
		return endedOK
	case codes.PermissionDenied, codes.Unauthenticated:
		return endedRefused
	case codes.Canceled:
		return endedCanceled
	}
	return endedFailed
}
