// Prints what clients of the published contract would notice of the present one, as JSON:
// {"breaking": [...], "dangerous": [...]}, each as "TYPE description". Arguments: the files
// of the published contract and of the present one, which has to be valid.
import { readFileSync } from "node:fs";
import { buildSchema, findBreakingChanges, findDangerousChanges, isInputObjectType, isInterfaceType, isObjectType, print, validateSchema } from "graphql";

const [published, present] = process.argv.slice(2).map((name) => buildSchema(readFileSync(name, "utf8")));
const mistakes = validateSchema(present);
if (mistakes.length > 0) throw new Error(mistakes.join("\n"));

// The other two that break clients and that graphql-js does not look for: what a request
// means that leaves a field of its input out, and which token it needs.
function* others() {
  for (const [name, before] of Object.entries(published.getTypeMap())) {
    const after = present.getType(name);
    if (!after || before.constructor !== after.constructor || !before.astNode) continue;
    if (!isInputObjectType(before) && !isObjectType(before) && !isInterfaceType(before)) continue;
    for (const [field, was] of Object.entries(before.getFields())) {
      const is = after.getFields()[field];
      if (!is) continue;
      const [old, now] = [was, is].map((f) => (f.astNode.defaultValue ? print(f.astNode.defaultValue) : "none"));
      if (old !== now) yield { type: "INPUT_FIELD_DEFAULT_CHANGED", description: `${name}.${field} has changed its default from ${old} to ${now}.` };
      const [could, can] = [published, present].map((schema, i) => scope(schema, [was, is][i]));
      if (scopes.indexOf(can) > scopes.indexOf(could)) yield { type: "SCOPE_RAISED", description: `${name}.${field} needs the scope ${can} instead of ${could}.` };
    }
  }
}
const scopes = ["none", "READ", "WRITE", "ADMIN"];
function scope(schema, field) {
  const auth = field.astNode.directives.find((d) => d.name.value === "auth");
  return auth ? (auth.arguments[0]?.value.value ?? schema.getDirective("auth").args[0].defaultValue) : "none";
}

// A request that leaves an argument out means something else when its default is another.
const changed = [...findBreakingChanges(published, present), ...findDangerousChanges(published, present), ...others()];
const dangerous = ["VALUE_ADDED_TO_ENUM", "TYPE_ADDED_TO_UNION", "OPTIONAL_INPUT_FIELD_ADDED", "OPTIONAL_ARG_ADDED", "IMPLEMENTED_INTERFACE_ADDED"];
const shown = (which) => changed.filter(which).map((c) => `${c.type} ${c.description}`);
console.log(JSON.stringify({ breaking: shown((c) => !dangerous.includes(c.type)), dangerous: shown((c) => dangerous.includes(c.type)) }));
