/** The picking list for the clinician: the classes of the `hypo` recipe (lentigo/labels.py), alphabetically by code. */

export const DIAGNOSES = [
  { code: "guttate_hypomelanosis", en: "idiopathic guttate hypomelanosis", zh: "特发性点状白斑", es: "hipomelanosis guttata idiopática" }, // prettier-ignore
  { code: "halo_naevus", en: "halo naevus", zh: "晕痣", es: "nevo halo" },
  { code: "macular_hypomelanosis", en: "progressive macular hypomelanosis", zh: "进行性斑状色素减少症", es: "hipomelanosis macular progresiva" }, // prettier-ignore
  { code: "naevus_anaemicus", en: "naevus anaemicus", zh: "贫血痣", es: "nevo anémico" },
  { code: "naevus_depigmentosus", en: "naevus depigmentosus", zh: "无色素痣", es: "nevo despigmentado" },
  { code: "piebaldism", en: "piebaldism", zh: "斑驳病", es: "piebaldismo" },
  { code: "pityriasis_alba", en: "pityriasis alba", zh: "白色糠疹", es: "pitiriasis alba" },
  { code: "pityriasis_versicolor", en: "pityriasis versicolor", zh: "花斑糠疹", es: "pitiriasis versicolor" },
  { code: "postinflammatory_hypopigmentation", en: "post-inflammatory hypopigmentation", zh: "炎症后色素减退", es: "hipopigmentación postinflamatoria" }, // prettier-ignore
  { code: "vitiligo", en: "vitiligo", zh: "白癜风", es: "vitíligo" },
] as const;

/** The plain name in a language; what is not on the list is shown as it was written. */
export function diagnosisName(code: string, language: string): string {
  const found = DIAGNOSES.find((one) => one.code === code);
  if (found === undefined) return code;
  return language === "zh" || language === "es" ? found[language] : found.en;
}
