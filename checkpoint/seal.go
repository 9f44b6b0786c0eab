package checkpoint

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"

	"github.com/lighterman/lighterman"
)

// sealLen is the length of a seal: SHA-256 cut to 128 bits. It finds accidents
// and mix-ups; it has no key and stops nobody who can write to Redis.
const sealLen = 16

// seal sums labels and bytes, each label behind its length so that no two lists
// read the same.
func seal[T string | []byte](body T, labels ...string) [sealLen]byte {
	head := make([]byte, 0, 256)
	for _, l := range labels {
		head = binary.BigEndian.AppendUint32(head, uint32(len(l)))
		head = append(head, l...)
	}
	h := sha256.New()
	h.Write(head)
	// Block by block: a string converted as a whole would be copied as a whole.
	var block [4096]byte
	for len(body) > 0 {
		n := copy(block[:], body)
		h.Write(block[:n])
		body = body[n:]
	}
	var sum [sha256.Size]byte
	return [sealLen]byte(h.Sum(sum[:0]))
}

// sealBase seals a base: whose it is, how it is to be read, and its bytes.
func sealBase[T string | []byte](id lighterman.TraceID, schema int, how coding, original int, payload T) string {
	s := seal(payload, "base", string(id), strconv.Itoa(schema), how.String(), strconv.Itoa(original))
	return hex.EncodeToString(s[:])
}
