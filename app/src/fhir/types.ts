/** What is used here of FHIR R5 (https://hl7.org/fhir/R5); tests/app/test_fhir.py validates whole records against the definitions. */

export interface Coding {
  system: string;
  code: string;
  display?: string;
}

export interface CodeableConcept {
  coding?: Coding[];
  text?: string;
}

export interface Reference {
  reference: string;
}

export interface Quantity {
  value: number;
  unit?: string;
  system?: string;
  code?: string;
}

export interface Resource {
  resourceType: string;
  id: string;
  [field: string]: unknown;
}

export interface FhirBundle extends Resource {
  resourceType: "Bundle";
  type: "collection";
  timestamp: string;
  entry: { fullUrl: string; resource: Resource }[];
}
