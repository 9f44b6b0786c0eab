package checkpoint_test

import (
	"errors"
	"fmt"

	"github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/checkpoint"
)

// A worker records a finished step, dies, and the next one restores it.
func Example() {
	codec, err := checkpoint.New(checkpoint.Options{})
	if err != nil {
		panic(err)
	}
	redis := lighterman.Fields{} // what the advance script keeps
	advance := func(steps []lighterman.Step) {
		for _, s := range steps {
			redis[s.Name] = string(s.Data)
		}
	}

	book, _ := codec.Open("0-order-42", nil)
	fields, _ := book.Record("gather", []byte("the river's history"))
	advance(fields)
	book.Saved()
	fields, _ = book.Record("tool:call_1", []byte("17 m3/s"))
	advance(fields)
	book.Saved()
	fmt.Println("second write:", fields[0].Name)

	book, err = codec.Open("0-order-42", redis)
	data, ok := book.Lookup("tool:call_1")
	fmt.Println("restored:", string(data), ok, err)

	_, err = codec.Open("0-another", redis)
	fmt.Println("another's:", errors.Is(err, checkpoint.ErrCorrupt))
	// Output:
	// second write: step:tool:call_1
	// restored: 17 m3/s true <nil>
	// another's: true
}
