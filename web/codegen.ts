import type { CodegenConfig } from '@graphql-codegen/cli'

// The types of the page's operations, written from the contract itself: a field that does
// not exist does not compile.
const config: CodegenConfig = {
  schema: '../schema.graphqls',
  documents: 'src/**/*.graphql',
  generates: {
    'src/api/generated.ts': {
      plugins: ['typescript-operations', 'typed-document-node'],
      config: {
        onlyOperationTypes: true,
        preResolveTypes: true,
        enumsAsTypes: true,
        useTypeImports: true,
        skipTypename: false,
        nonOptionalTypename: true,
        avoidOptionals: { field: true, object: false, inputValue: false },
        dedupeFragments: true,
        strictScalars: true,
        scalars: { DateTime: 'string', JSON: 'unknown', URL: 'string', PathTemplate: 'string', ByteSize: 'number' },
      },
    },
  },
}
export default config
