package sim

import (
	"context"

	"github.com/lighterman/lighterman"
)

// List offers the models that Call knows, as a backend's own listing would: with
// what each can do, and without a context length, for they have none.
func (s *Sim) List(ctx context.Context) ([]lighterman.Offering, error) {
	if ctx.Err() != nil {
		return nil, interrupted(ctx)
	}
	var list []lighterman.Offering
	for _, name := range s.Models() {
		list = append(list, lighterman.Offering{Name: name, Can: can(name)})
	}
	return list, nil
}

// can says nothing of a model that only a script names.
func can(name string) map[lighterman.Capability]bool {
	is := base(name)
	if !builtin(is) {
		return nil
	}
	embeds := is == Embed
	return map[lighterman.Capability]bool{
		lighterman.CanChat: !embeds, lighterman.CanPrompt: !embeds, lighterman.CanStream: !embeds, lighterman.CanEmbed: embeds,
	}
}
