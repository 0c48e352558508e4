package memcachedstore

import (
	"crypto/sha256"
	"encoding/hex"
)

// kind is what a key is of.
type kind string

const (
	ofValue kind = "v"
	ofLease kind = "l"
)

const maxKey = 250

// name is the key that memcached is given for a key.
func (s *Store) name(k kind, key string) string {
	head := s.namespace + ":" + string(k)
	if len(head)+1+len(key) <= maxKey && plain(key) {
		return head + ":" + key
	}
	sum := sha256.Sum256([]byte(key))
	return head + "#" + hex.EncodeToString(sum[:])
}

func (s *Store) names(k kind, keys []string) []string {
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = s.name(k, key)
	}
	return names
}

// plain tells whether memcached's protocol can carry all bytes of a key.
func plain(key string) bool {
	for i := range len(key) {
		if c := key[i]; c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}
