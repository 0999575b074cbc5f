/** What every file that leaves the app says of the results in it; files are in English, whatever language the app speaks. */
export const RESEARCH = "Research software, not a medical device: not a diagnosis.";
