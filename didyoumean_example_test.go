package lighterman_test

import (
	"fmt"

	"github.com/lighterman/lighterman"
)

func ExampleDidYouMean() {
	fmt.Println(lighterman.DidYouMean("gtp-4o", []string{"sim", "gpt-4o"}))
	// Output: gpt-4o
}
