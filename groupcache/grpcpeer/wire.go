package grpcpeer

import (
	"math"

	"github.com/holdfast-go/holdfast/groupcache/grpcpeer/grpcpb"
)

// What peers call things on the wire.

const (
	// marker is sent with all errors of ours. Its value is the version.
	marker      = "x-holdfast-groupcache"
	markerValue = "1"
	// version is said in the messages of ours.
	version = 1
)

var theVersion uint32 = version //nolint:gochecknoglobals // constants have no addresses

// The methods of the service. The original has but the first.
const (
	methodGet = iota
	methodGetMulti
	methodGetCached
	methodSet
	methodRemove
	methodOffer
	methodForget
	methodProbe
	methodSweep
	methodWritten
	methods
)

// methodNames are the names of methods on the wire.
var methodNames = [methods]string{"Get", "GetMulti", "GetCached", "Set", "Remove", "Offer", "Forget", "Probe", "Sweep", "Written"} //nolint:gochecknoglobals // never changes

// ringOfOld is the ring that a field of its own stands for.
const ringOfOld = "rendezvous"

// path is the path of a method.
func path(method int) string { return "/" + grpcpb.ServiceName + "/" + methodNames[method] }

// signsWanted is a header that asks for signs of life.
const signsWanted = "x-holdfast-signs"

// overhead is how much larger than its value a message may be: it has the group and the key, or the
// Getter's error, too.
const overhead = 64 << 10

// messageSize is the size of messages for values of a size.
func messageSize(maxValueSize int64) int {
	return int(min(maxValueSize, math.MaxInt32-overhead) + overhead)
}
