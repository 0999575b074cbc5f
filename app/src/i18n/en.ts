/**
 * Every sentence of the app in English.
 *
 * A language is a file beside this one, named by its code, which exports itself under that code. It has the same keys;
 * the compiler and a test hold it to them. Nothing else names the languages.
 */

import { recordErrors, recordText } from "./record/en";

const text = {
  ...recordText,
  // The frame
  skip: "Skip to the content",
  navLabel: "Pages",
  navCheck: "Check",
  navNotebook: "Notebook",
  navModels: "Models",
  close: "Close",
  cancel: "Cancel",
  save: "Save",
  edit: "Edit",
  delete: "Delete",
  apply: "Apply",
  dismiss: "Dismiss this message",
  tryAgain: "Try again",
  listComma: ", ",
  themeAuto: "Colours: as the device",
  themeLight: "Colours: light",
  themeDark: "Colours: dark",
  language: "Language",

  // The notice
  noticeTitle: "Before you start",
  noticeResearch: "lentigo is research software. It is not a medical device, and what it shows is not a diagnosis.",
  noticeDoctor:
    "A model can be wrong, also where it is sure. If a spot changes, bleeds or worries you, see a doctor, whatever this app shows.",
  noticePrivate: "Your photographs stay on this device. The app sends nothing anywhere.",
  noticeAccept: "I understand",
  noticeShort: "Research use only. Not a diagnosis, not a medical device.",

  // Check
  checkTitle: "Look closer at a spot",
  checkLead: "Add one or more photographs of the same lesion. A small neural network in this page classifies them.",
  choose: "Choose photographs",
  useCamera: "Use the camera",
  dropHere: "You can also drop or paste images here.",
  pointPrivate: "Nothing leaves this device",
  pointPrivateText: "The model runs in this page, also without a network.",
  pointHonest: "Honest numbers",
  pointHonestText: "Calibrated probabilities, and “can't tell” from models that know their limits.",
  pointNotebook: "A notebook of your own",
  pointNotebookText: "Keep a lesion with its dates, and compare them.",
  photographs: "Photographs of this lesion",
  photograph: "Photograph {number}",
  addPhoto: "Add a photograph",
  removePhoto: "Remove this photograph",
  camera: "Camera",
  cropTurn: "Crop and turn",
  startOver: "Start over",
  saveToNotebook: "Save to the notebook",
  classifying: "Classifying the photograph …",
  waitingForModel: "The photograph is classified as soon as the model is loaded.",
  loadingModel: "Loading the model …",
  noModel: "There is no model on this device yet. Load a bundle from a file on the page “Models”.",
  took: "Answered in {milliseconds} ms.",
  madeForDermoscopy: "For images taken through a dermatoscope.",
  madeForClinical: "For ordinary close-up photographs.",
  madeForPhantom: "Trained on drawn images: says nothing about skin.",
  madeForOther: "For pictures that are neither dermoscopy nor plain photographs.",
  madeForNotStated: "It is not stated for what kind of pictures.",

  // The answer
  cannotTell: "Can't tell",
  reasonUnlike:
    "This image is unlike those the model learned from. Try a sharp, evenly lit photograph with the lesion in the middle.",
  looksDermoscopy:
    "This looks like an image taken through a dermatoscope. The model in use is for plain photographs of lesions.",
  looksClinical: "This looks like a plain photograph. The model in use is for images taken through a dermatoscope.",
  looksOther:
    "This looks neither like an image taken through a dermatoscope nor like a plain photograph of a lesion. Try a sharp, evenly lit photograph with the lesion in the middle.",
  notAnAnswer: "These numbers are not an answer; they only show what the model would have said.",
  install: "Install on this device",
  malignant: "malignant",
  meanOf: "Mean of {count} photographs.",
  meanWithout: "Photographs in the mean: {count}. Left out, since the model can't tell on them: {left}.",
  heatMap: "Heat map",
  heatOf: "Coloured areas raise the score of “{name}”. Choose another class in the list.",
  heatNone: "This model draws no heat maps.",
  setOf: "Classes that remain at {coverage} coverage",
  setEmpty: "At {coverage} coverage no class fits well.",
  probabilityTitle: "Malignant classes together",
  probabilityLine: "Line for a sensitivity of",
  hintDark: "The photograph is too dark. Use more light, or the torch.",
  hintBright: "The photograph is too bright. Turn away from the light, or switch the torch off.",
  hintBlurred: "The photograph is blurred. Hold still, and let the camera focus.",
  hintFlat: "There is hardly anything to see. Put the lesion in the middle of the picture.",

  // The verdict, work in progress, imports
  undo: "Undo",
  replace: "Replace",
  photoRemoved: "The photograph is removed.",
  startedOver: "Ready for the next lesion.",
  draftRestored: "Your photographs from before are back: {count}.",
  taken: "Photographs are taken",
  takenQuestion: "How are your photographs taken?",
  takenWhy:
    "Each model knows one kind of photograph only, and is wrong about the other. You can change this at any time.",
  takenDermatoscope: "through a dermatoscope",
  takenDermatoscopeText: "A lens with its own light is held on the skin.",
  takenCamera: "with a plain camera",
  takenCameraText: "A phone or a camera, held at a distance from the skin.",
  takenLooks: "Your photograph looks like this.",
  useFitting: "Use the model for my photographs",
  takenSo: "My photographs are taken {taken}",
  verdictAbove: "Above the line for malignant classes",
  verdictBelow: "Below the line for malignant classes",
  verdictAboveShort: "above the line",
  verdictBelowShort: "below the line",
  earlierAbove: "Above the line before, last on {date}",
  verdictAboveText:
    "The malignant classes together reach {probability}; the line is at {threshold}. That is a reason to show the lesion to a doctor.",
  verdictBelowText:
    "The malignant classes together reach {probability}; the line is at {threshold}. That does not rule out cancer.",
  malignantRemain: "At {coverage} coverage malignant classes remain: {names}.",
  lineMisses:
    "Of 100 malignant images in validation about {missed} lay below this line; of 100 benign ones about {alarms} lay above it.",
  malignantAbove:
    "Where {prevalence} of the lesions are malignant, of 100 lesions above this line about {count} are malignant, by the model's test.",
  malignantBelow:
    "Where {prevalence} of the lesions are malignant, of 1000 lesions below this line about {count} are malignant, by the model's test.",
  doubtOtherKind: "The model in use was made for another kind of photograph.",
  doubtNoMalignancy: "This model does not say of each class whether it is malignant.",
  doubtNoLine: "This model has no line for malignant classes; it only compares the classes it knows.",
  doubtDisagree: "The photographs disagree: some are above the line, though all together are below it.",
  doubtDifferent: "The answer is about one lesion; these photographs may show several.",
  aboveDisagree: "The photographs disagree: together they are above the line, some of them are below it.",
  doubtConcern: "The photographs are below the line, but your answers are a reason for concern.",
  concernsSay: "What you answered is a reason to show the lesion to a doctor, whatever the model says: {answers}.",
  beside: "Whose lesion is it, and where?",
  besideText:
    "Adjusts the probabilities by how common each class is at this age and place in the training data. It can raise concern, never lower it; leave out what is not known.",
  besideSays:
    "Malignant classes from the photograph alone {alone}; with {known} {both}. The higher of the two is held against the line.",
  age: "Age in years",
  ageIs: "age {age}",
  sex: "Sex",
  female: "female",
  male: "male",
  notKnown: "not known",
  questions: "What do you know about this lesion?",
  questionsText: "What you tick can raise concern, never lower it.",
  concernNew: "new",
  concernGrowing: "growing",
  concernChanging: "changing its colour or shape",
  concernBleeding: "bleeding or oozing",
  concernItching: "itching or painful",
  concernUgly: "unlike my other spots",
  photosDiffer: "These photographs look like different lesions. Check each lesion on its own.",
  knows: "This model knows {count} classes only: {names}. Other diseases exist; it would give them one of these names.",
  heatStrength: "Strength of the map",
  notForYours: "Not for your photographs, which are taken {taken}.",
  removeModelText: "The model is deleted from this device. To have it again, load its file again.",
  replaceModel: "Replace the model {name}?",
  replaceModelText: "A model of this name is on this device with other content. Its files are replaced.",
  importedConflicts:
    "Imported: {added} new, {updated} updated, {unchanged} unchanged. Notes that differ are kept beside the newer ones; look at the cases marked: {conflicts}.",
  conflictCount: "other versions to look at: {count}",
  conflict: "Another version came with an import",
  conflictText: "Of {date}. What you see below is the newer one.",
  conflictUse: "Use this version",
  conflictDrop: "Keep the newer one",
  nothingWritten: "(nothing)",
  measuredOther: "Outline and size, photograph {number}",
  sheetConflictText:
    "After an import, this is the older of two versions of a sheet. Use it in the place of the newer one, or drop it.",
  importedOthers:
    "Patients and sheets with another version: {count}. What a patient's older version says is below the note; a sheet's older version is kept as a sheet of its own.",

  // Crop
  cropHelp: "Drag the frame and its corners; with the keyboard use the arrow keys. The lesion should fill most of it.",
  cropMove: "Move the frame",
  cropTopLeft: "Top left corner",
  cropTopRight: "Top right corner",
  cropBottomLeft: "Bottom left corner",
  cropBottomRight: "Bottom right corner",
  cropSquare: "Square",
  cropWhole: "Whole image",
  turn: "Turn",

  // Camera
  cameraPicture: "Live picture of the camera",
  cameraFrame: "Put the lesion into the circle",
  cameraDark: "Too dark: more light",
  cameraBright: "Too bright: turn away from the light",
  cameraStill: "Hold still",
  cameraBlurred: "Not sharp: move a little away",
  cameraShoot: "Take the photograph",
  cameraFlip: "Use the other camera",
  cameraPhoto: "Camera, {time}",
  followUp: "Photograph again",
  cameraReview: "The photograph that was taken",
  cameraReviewText: "Is the lesion sharp and whole?",
  cameraAgain: "Take again",
  cameraUse: "Use this photograph",
  cameraZoom: "Zoom",
  cameraFocus: "Focus",
  cameraGhost: "Show the last photograph",
  level: "Level",
  levelTilt: "Tilted: hold the phone parallel to the skin",
  levelTurn: "Turned: hold the phone upright",
  zoomOpen: "Open at full size",
  zoomHelp: "Zoom with the wheel, two fingers or the keys + and -; move with a finger or the arrow keys",
  zoomIn: "Zoom in",
  zoomOut: "Zoom out",
  torch: "Torch",

  // Notebook
  notebookLead: "Lesions you want to follow. Kept on this device only.",
  notebookEmpty: "Nothing here yet. Check a photograph and save the answer.",
  searchEmpty: "No case matches.",
  search: "Search",
  searchHint: "Title, note, place, class or date",
  import: "Import",
  export: "Export",
  imported: "Imported: {added} new, {updated} updated, {unchanged} unchanged.",
  saved: "Saved on this device.",
  visitCount: "Dates: {count}",
  storageUse: "{used} used on this device, of about {quota} this browser allows.",
  deleteAll: "Delete all cases",
  deleteAllText:
    "Every case, patient, sheet and photograph is deleted from this device. Export them first if you may want them again.",
  deletedAll: "All cases are deleted.",
  lesion: "Lesion",
  newLesion: "A new lesion",
  title: "Title",
  titleHint: "such as: mole on the left forearm",
  untitled: "Lesion, first seen {date}",
  date: "Date",
  note: "Note",
  savePrivate: "Kept on this device only, without the photograph's location and other metadata.",
  bodySite: "Place on the body",
  bodyFront: "Front",
  bodyBack: "Back",
  siteNone: "No place marked",
  siteLeft: "Left {part}",
  siteRight: "Right {part}",

  // One case
  editCase: "Edit the case",
  compare: "Compare",
  compareFirst: "First date",
  compareSecond: "Second date",
  compareShare: "Malignant classes together: {first} on the first date, {second} on the second.",
  compareModels: "Different models answered on these dates: the numbers cannot be compared with each other.",
  print: "Print or PDF",
  deleteCase: "Delete this case",
  deleteCaseText: "The case, all its dates and photographs are deleted from this device.",
  deletedCase: "The case is deleted.",
  deleteVisit: "Delete this date",
  deleteVisitText: "This date and its photographs are deleted from this device.",
  deletedVisit: "The date is deleted.",
  caseGone: "This case is not on this device. It may have been deleted.",
  answeredBy: "Answered by {title}, version {version} ({digest}).",

  // Models
  modelsLead: "Choose the model that fits how your photographs are taken.",
  modelName: "{domain}, {count} classes",
  tellsApart: "Tells apart: {names}.",
  loadModel: "Load from a file",
  modelLoaded: "{title} is ready.",
  removeModel: "Remove {title}",
  fromFile: "Loaded from a file",
  fromServer: "From this server",
  version: "version {version}",
  domainDermoscopy: "Dermoscopy",
  domainClinical: "Close-up photographs",
  domainPhantom: "Drawn images",
  domainOther: "Other pictures",
  domainNotStated: "Pictures of a kind not stated",
  modelCard: "Model card",
  modelCardFull: "The whole card, in English",
  classes: "Classes",
  inputSize: "Input",
  network: "Network",
  canAbstain: "Says “can't tell”",
  yes: "yes",
  no: "no: judge for yourself whether an image is of the kind it knows",
  licence: "Licence",
  dataLicence: "Licence of the data",
  balancedAccuracy: "Balanced accuracy ({split}, {protocol} protocol)",
  selfCheck: "Does it compute right here?",
  prevalence: "How common is it where you work?",
  prevalenceLabel: "Malignant among 100 lesions (may be left empty)",
  prevalenceText:
    "With this number the answer says how many lesions above or below the line are malignant. That holds for lesions and photographs like those the model was tested on. Its test images do not tell this number; it differs between a screening and a clinic.",
  selfCheckText: "Runs the model's own test images on this device and compares every number with the reference.",
  selfCheckRun: "Check now",
  selfCheckPassed: "All {count} test images agree: pixels within {pixels}, probabilities within {probabilities}.",
  selfCheckFailed:
    "This device computes something else: pixels differ by {pixels}, probabilities by {probabilities}. Use another browser, and do not trust answers here.",

  // Updates
  updateReady: "A new version of lentigo is ready.",
  updateNow: "Update",
  updateLater: "Later",
};

const errors = {
  ...recordErrors,
  unexpected: "Something went wrong ({detail}). Load the page again; what is in the notebook is safe.",
  partUnreachable: "A part of the app could not be fetched. Check the connection and load the page again.",
  workerEnded: "The classification was stopped. Try again.",
  workerFailed:
    "The classification stopped working, perhaps for lack of memory ({detail}). Close other pages and try again.",

  imageEmpty: "The file is empty. Choose the photograph again.",
  imageUnknown: "This is not an image, whatever its name says. Choose a JPEG, PNG or WebP file.",
  imageDamaged: "The image is damaged or incomplete. Fetch it again or choose another.",
  imageTooLarge:
    "The image has {width} × {height} pixels ({megapixels} megapixels); the limit is {limit} megapixels. Scale it down, or photograph at a lower resolution.",
  imageTiff: "Browsers do not show TIFF images. Save it as JPEG or PNG first.",
  imageHeic:
    "This browser cannot decode HEIC photographs. Save it as JPEG first (on an iPhone: Settings > Camera > Formats > Most Compatible).",
  imageAvif: "This browser cannot decode AVIF images. Save it as JPEG or PNG first.",
  imageVideo: "This is a video, not an image. Choose a photograph.",
  imagePdf: "This is a PDF document, not an image. Save the picture as JPEG or PNG first.",
  tooManyPhotos: "At most {most} photographs of one lesion. Remove some, or start over for another lesion.",
  canvasUnavailable: "This browser gives no memory for images. Close other pages and try again.",
  canvasBlocked:
    "This browser's protection against fingerprinting changes images before the app can read them, so that no answer would be right. Allow this site to read canvas data, or use another browser.",

  cameraRefused:
    "The camera is not allowed for this site. Allow it in the browser's site settings, or choose a photograph instead.",
  cameraMissing: "No camera was found. Choose a photograph instead.",
  cameraBusy:
    "The camera cannot be opened; another program may be using it. Close that, or choose a photograph instead.",
  cameraInsecure: "Browsers open the camera on https pages and on this very machine only. Choose a photograph instead.",

  wasmMissing:
    "This browser has no WebAssembly, which the model needs (the lockdown mode of an iPhone switches it off). Allow it for this site, or use another browser.",
  wasmBlocked:
    "WebAssembly, which the model needs, is blocked here ({detail}). Allow it for this site, or use another browser or network.",
  runtimeUnreachable:
    "The program that runs the model could not be fetched ({detail}). Check the connection and try again.",
  noModel: "No model is loaded. Choose one on the page “Models”.",
  modelUnloadable: "The model cannot be loaded ({detail}). Choose another one, or fetch the bundle again.",
  modelMismatch: "The model is not what its specification says ({detail}). Export the bundle again.",
  modelNotFinite: "The model's answer is not a number. Export the bundle again.",

  bundleUnreachable: "A file of the model could not be fetched ({file}). Check the connection and try again.",
  bundleNotFound:
    "There is no bundle in here. Choose a zip file with spec.json, model.onnx, MODEL_CARD.md and golden.json, or these files together.",
  bundleBadZip: "The zip file is damaged. Fetch it again.",
  bundleTooLarge: "The bundle is larger than 200 MB. Choose a smaller model.",
  bundleNotJson: "spec.json cannot be read as JSON. Fetch the bundle again.",
  bundleNotLentigo: "spec.json has no format number: this is no lentigo bundle. Choose another file.",
  bundleNewer: "The bundle has format {format}, which is newer than this app reads ({known}). Update the app.",
  bundleInvalid: "spec.json is invalid at “{field}” ({detail}). Export the bundle again.",
  bundleFileMissing: "{file} is missing from the bundle. Fetch or export the bundle again.",
  bundleDamaged: "{file} is damaged: its checksum is not the one in spec.json. Fetch or export the bundle again.",
  goldenInvalid: "The bundle's test images cannot be read. Export the bundle again.",

  storageUnavailable:
    "This browser keeps no data for this site (a private window, or blocked site data). Checking works; the notebook needs an ordinary window.",
  storageFull:
    "The device has no space left for this. Export the notebook and delete old cases, or free space on the device.",
  draftNoSpace:
    "The device has no space left: these photographs are lost when the page is closed or loaded anew. Save them elsewhere, or free space on the device.",
  draftUnkept:
    "The browser keeps nothing here: these photographs are lost when the page is closed or loaded anew. Save them elsewhere.",
  storageFailed: "The notebook could not be written ({detail}). Try again; nothing was changed.",
  storageUnread: "The notebook could not be read ({detail}). Load the page again; nothing was changed.",
  recordDamaged:
    "This record is damaged and cannot be shown. It is left on this device as it is; importing an export that holds it brings it back.",
  importNotJson: "This file cannot be read as JSON. Choose a file that lentigo exported.",
  importNotNotebook: "This is no lentigo notebook. Choose a file that lentigo exported.",
  importNewer: "This notebook was written by a newer version. Update the app, then import it again.",
  importInvalid: "The notebook is invalid at “{field}”; nothing was imported. Export it again.",
};

const parts = {
  face: "Face",
  scalp: "Scalp",
  neck: "Neck",
  nape: "Nape",
  chest: "Chest",
  abdomen: "Abdomen",
  groin: "Groin",
  upperBack: "Upper back",
  lowerBack: "Lower back",
  buttocks: "Buttocks",
  upperArm: "upper arm",
  forearm: "forearm",
  hand: "hand",
  thigh: "thigh",
  lowerLeg: "lower leg",
  foot: "foot",
  arm: "Arm",
  back: "Back",
  ear: "Ear",
  lip: "Lip",
  nose: "Nose",
  trunk: "Trunk",
  genital: "Genital area",
  "upper extremity": "Arm or shoulder",
  "lower extremity": "Leg or hip",
};

export type TextKey = keyof typeof text;
export type ErrorKey = keyof typeof errors;
export type PartKey = keyof typeof parts;

export interface Translation {
  meta: {
    /** Of the page, BCP 47. */
    lang: string;
    /** For numbers and dates, BCP 47. */
    locale: string;
    /** Whether a space stands between sentences, and between a number and its unit. */
    spaced: boolean;
  };
  text: Record<TextKey, string>;
  errors: Record<ErrorKey, string>;
  parts: Record<PartKey, string>;
  /** Classes by their English name, for languages that bundles do not name them in. */
  classes?: Record<string, string>;
}

export const en: Translation = { meta: { lang: "en", locale: "en-GB", spaced: true }, text, errors, parts };
