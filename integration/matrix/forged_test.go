package matrix_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"regexp"
	"strconv"
	"sync/atomic"
	"testing"
)

// forger changes answers so that they are well formed, and wrong.
type forger struct {
	// another makes an answer to a request that nobody has made; nil: answers do not tell.
	another func(data []byte) []byte
	// longer makes an answer whose value is said to be longer than it is, by a number of bytes.
	longer func(data []byte, by int) []byte
}

func forgeMemcached() forger {
	value := regexp.MustCompile(`VALUE \S+ \d+ (\d+)`)
	return forger{
		another: func(data []byte) []byte { return bytes.ReplaceAll(data, []byte("key-"), []byte("kex-")) },
		longer:  func(data []byte, by int) []byte { return add(data, value, by) },
	}
}

func forgeRedis() forger {
	bulk := regexp.MustCompile(`\$(\d+)`)
	return forger{longer: func(data []byte, by int) []byte { return add(data, bulk, by) }}
}

// add adds to the numbers that a pattern has as its group.
func add(data []byte, pattern *regexp.Regexp, by int) []byte {
	var changed []byte
	at := 0
	for _, m := range pattern.FindAllSubmatchIndex(data, -1) {
		n, _ := strconv.Atoi(string(data[m[2]:m[3]])) // it is one
		changed = strconv.AppendInt(append(changed, data[at:m[2]]...), int64(n+by), 10)
		at = m[3]
	}
	return append(changed, data[at:]...)
}

// forgeFrames changes the frames of peers, see groupcache/internal/frame, and answers over HTTP.
func forgeFrames() forger {
	const headSize, streamAt = 12, 8
	length := regexp.MustCompile(`Content-Length: (\d+)`)
	each := func(data []byte, change func(head []byte)) []byte {
		for rest := data; len(rest) >= headSize; {
			size := headSize + int(binary.LittleEndian.Uint32(rest))
			change(rest[:headSize])
			rest = rest[min(size, len(rest)):]
		}
		return data
	}
	overHTTP := func(data []byte) bool { return bytes.HasPrefix(data, []byte("HTTP/")) }
	return forger{
		another: func(data []byte) []byte {
			if overHTTP(data) {
				return data
			}
			return each(data, func(head []byte) {
				stream := binary.LittleEndian.Uint32(head[streamAt:])
				binary.LittleEndian.PutUint32(head[streamAt:], stream|1<<30)
			})
		},
		longer: func(data []byte, by int) []byte {
			if overHTTP(data) {
				return add(data, length, max(by, -by)) // of what comes too much net/http would complain in the log
			}
			return each(data, func(head []byte) {
				binary.LittleEndian.PutUint32(head, binary.LittleEndian.Uint32(head)+uint32(by)) //nolint:gosec // it may be anything
			})
		},
	}
}

var errNotForged = errors.New("no answer has been changed")

// ofForgery are answers that are well formed, and wrong.
func ofForgery() []fault {
	forged := func(name string, by func(forger) func([]byte) []byte) fault {
		return fault{
			name: name, want: refused,
			looks: func(s *subject) error {
				if !s.forged.Load() {
					return errNotForged
				}
				return nil
			},
			begin: func(_ *testing.T, s *subject) {
				change := by(s.words.forger)
				s.way.answers(func(to net.Conn, data []byte) bool {
					before := bytes.Clone(data)
					after := change(data)
					if !bytes.Equal(before, after) {
						s.forged.Store(true)
					}
					return asItIs(to, after)
				})
				s.way.cut()
			},
			end: on(func(w *way) { w.answers(nil); w.cut() }),
		}
	}
	another := forged("answers are to requests that nobody made (another key, another number)", func(f forger) func([]byte) []byte { return f.another })
	another.unlike = map[string]outcome{groups: either} // it asks over HTTP after a while, which has no numbers
	another.never = map[string]string{sentinels: "a reply of Redis names neither key nor request"}
	var answers atomic.Int64
	return []fault{
		another,
		forged("answers announce another length than they have", func(f forger) func([]byte) []byte {
			return func(data []byte) []byte { return f.longer(data, []int{1, -1, 1000, -1000}[answers.Add(1)%4]) }
		}),
	}
}
