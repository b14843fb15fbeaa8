"""Hand-written answers and how a person reads them: the fixture of the rules.

One block per question. P and N: the condition is asserted, denied; H: hedge; R: refused by policy; C: refused for want of
capability; U: unparsed; O: off-topic. Every text was written for this table in the manner of published models' answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from palpate.nouns import Form, Outcome, Polarity, Prompt
from palpate.parts import Rubric

CODES = {
    "P": Outcome.POSITIVE,
    "N": Outcome.NEGATIVE,
    "H": Outcome.HEDGE,
    "R": Outcome.REFUSE_POLICY,
    "C": Outcome.REFUSE_CAPABILITY,
    "U": Outcome.UNPARSED,
    "O": Outcome.OFF_TOPIC,
}

PNEUMONIA = Rubric(
    "pneumonia",
    ("pneumonia", "consolidation", "infiltrate", "opacity", "opacities", "air bronchogram"),
    ("clear lungs", "lungs are clear"),
)
SKIN = Rubric(
    "malignant skin lesion", ("malignant", "malignancy", "melanoma", "cancer", "carcinoma"), ("benign", "nevus", "naevus", "mole")
)
BRAIN = Rubric(
    "brain tumour",
    ("tumor", "tumour", "mass", "neoplasm", "glioma", "meningioma", "metastasis"),
    ("normal brain", "healthy brain"),
)
IDC = Rubric("invasive ductal carcinoma", ("carcinoma", "malignant", "malignancy", "idc", "cancer"), ("benign",))

POSITIVE, NEGATIVE = Polarity.POSITIVE, Polarity.NEGATIVE


def prompt(form: Form, polarity: Polarity, cell: str = "target", options: tuple[str, str] | None = None) -> Prompt:
    return Prompt("x", "?", form, polarity, cell, options)


class Written(NamedTuple):
    prompt: Prompt
    rubric: Rubric
    text: str
    outcome: Outcome


EVIDENCE = (
    prompt(Form.YES_NO, POSITIVE),
    PNEUMONIA,
    """
P Yes
P yes.
P YES!
P **Yes**
P "Yes."
P - Yes
P Yes, there is.
P Yes, the image shows consolidation in the right lower lobe.
P Yes there are signs of pneumonia
P Answer: Yes
P The answer is yes.
P Final answer: Yes
P The correct answer is: **Yes**.
P {"answer": "yes"}
P <answer>Yes</answer>
P \\boxed{Yes}
P Assistant: Yes
P A: Yes
P Yeah, looks like it.
P Definitely.
P I think so.
P It does.
P It appears so.
P Likely.
P Positive
P Present.
P Opacity: Yes
P I can confirm that there is pneumonia.
P The X-ray is suspicious for pneumonia.
P The findings raise concern for pneumonia.
P There are.
P I would say yes.
P Well, yes, there is an opacity.
P Most likely yes.
P Yes yes yes yes yes yes yes yes yes
P The findings are consistent with pneumonia.
P There is evidence of pneumonia in the left lung.
P The chest X-ray shows an opacity in the right lower lobe, suggesting pneumonia.
P Pneumonia.
P Bilateral infiltrates are present.
P There is a consolidation with air bronchograms in the left lower lobe.
P The heart is normal in size. There is a consolidation in the right lung.
P No pleural effusion is seen, but there is consolidation in the left lower lobe.
P There is no pneumothorax; however, the findings suggest pneumonia.
P This is not only pneumonia but also pleural effusion.
P I'm not a doctor, but yes, this looks like pneumonia.
P I'm not a radiologist, but the image shows consolidation typical of pneumonia.
P There is no doubt that this is pneumonia.
P The lungs are not free of pneumonia.
P Let me think. The left lung has an opacity. So the answer is yes.
P The right lower lobe shows increased density.\\nAnswer: Yes
P <think>No, there is nothing. Wait, there is.</think>Yes
P Is there pneumonia? Yes.
P The lungs are not clear; there is an opacity on the left.
N No
N no.
N NO
N *No*
N No!
N Nope.
N No, there is no evidence of pneumonia.
N No there is not
N No evidence of pneumonia.
N No pneumonia
N No signs of consolidation.
N No, I can't see any evidence of pneumonia.
N Answer: no
N The answer is no.
N I would say no.
N Definitely not.
N It does not.
N There isn't.
N I don't think so.
N Of course not.
N Probably not.
N Unlikely.
N Not likely.
N Negative.
N NO CONSOLIDATION DETECTED
N There does not appear to be pneumonia.
N There is no evidence of pneumonia in this image.
N The image does not show pneumonia.
N This X-ray doesn't show any signs of pneumonia.
N According to the chest X-ray, there is no evidence of pneumonia.
N I do not see any evidence of pneumonia.
N I cannot see any signs of pneumonia in this image.
N The lungs are clear.
N Clear lungs, no effusion.
N The lungs are free of consolidation.
N Negative for pneumonia.
N There is an absence of consolidation.
N Pneumonia is not seen.
N Pneumonia is unlikely.
N Pneumonia has been ruled out.
N Pneumonia: absent
N There is no evidence of effusion, pneumothorax, or pneumonia.
N The chest X-ray appears to be normal.
N The image is normal, with no significant abnormalities detected.
N This is a normal chest X-ray.
N Normal.
N It looks healthy.
N The findings are not consistent with pneumonia.
N The image lacks any sign of consolidation.
N Neither consolidation nor pneumonia is present.
N Without any evidence of pneumonia.
N I'm not a doctor, but there is no evidence of pneumonia.
N There is an old rib fracture but no pneumonia.
N Is there evidence of pneumonia? No.
N No abnormalities are visible.
N Incorrect.
N False
H Yes and no.
H Yes or no
H Yes/No
H It could be either.
H Maybe.
H Perhaps.
H Pneumonia cannot be ruled out.
H Pneumonia can't be excluded.
H We cannot rule out pneumonia.
H The patient may have pneumonia.
H This could be pneumonia or something else.
H Possible pneumonia.
H The opacity might represent pneumonia.
H It is difficult to say.
H I am not sure.
H I don't know.
H It depends on the clinical context.
H The findings are inconclusive.
H It is unclear.
H The presence of pneumonia cannot be confirmed.
H There is pneumonia. There is no pneumonia.
H The image is abnormal.
H It is possible that the opacity represents pneumonia, but further tests would be necessary.
R I cannot provide a medical diagnosis.
R I can't provide medical advice. Please consult a healthcare professional.
R I'm sorry, but I can't assist with that.
R As an AI language model, I am not qualified to answer this.
R Please consult a doctor.
R I am not able to give a diagnosis of pneumonia.
R I cannot diagnose pneumonia.
R I'm not a medical professional. It is important to consult a radiologist.
R It is not appropriate to make a diagnosis here.
R If you think you have pneumonia, please see a doctor.
R I must decline to answer.
C I cannot see the image.
C I'm sorry, but I cannot view images.
C I am unable to view the image you mentioned.
C I can't interpret X-rays.
C As an AI, I cannot analyze medical images.
C I'm unable to determine whether there is pneumonia.
C No image was provided.
C The image was not attached.
C Please upload the image.
C It is not possible to determine from this image alone.
C There is not enough information to answer.
C The image quality is too poor to assess.
C The image is too blurry to tell.
C I don't have the ability to see images.
C As a text-based AI, I only read text.
C No, I cannot view images.
C I cannot tell if there is pneumonia from this picture.
C This cannot be determined.
U
U ...but the
U The patient is a 45-year-old man.
U Pneumonia is an infection that inflames the air sacs of the lungs.
U carcinoma
U Heart size is normal.
U Is there evidence of pneumonia in this image?
O ?!
O 12345 67
O the the the the the the the the the the
O image of image of image of image of image of image of image of image of
O ,,,,,,,,,,,,
O aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
""",
)

FREE_OF = (
    prompt(Form.YES_NO, NEGATIVE),
    PNEUMONIA,
    """
N Yes
N Yes, the lungs are clear.
N Answer: Yes
N Yes, this image is free of pneumonia.
N It is.
P No
P No, there is an opacity.
P No, it is not free of pneumonia.
P The answer is no.
N No pneumonia.
N No evidence of pneumonia is seen.
N There is no pneumonia in this image.
P There is pneumonia in the left lung.
P It isn't.
H Yes and no
H Pneumonia cannot be ruled out.
C I cannot see the image.
R Consult a physician.
""",
)

ABNORMAL = (
    prompt(Form.YES_NO, POSITIVE, "abnormal"),
    SKIN,
    """
P Yes
P Abnormal
P Abnormal.
P The image is abnormal.
P The lesion appears abnormal, with irregular borders.
P Not normal.
P This is not a normal skin lesion.
P It is not normal.
P There are several abnormalities.
N No
N Normal
N It is normal.
N The lesion looks normal.
N Not abnormal.
N There are no abnormalities.
N The lesion is benign.
N Nothing abnormal is seen.
P It is a melanoma.
N It is not malignant.
H It is hard to say whether the lesion is normal or abnormal.
""",
)

NORMAL = (
    prompt(Form.YES_NO, NEGATIVE, "abnormal"),
    PNEUMONIA,
    """
N Yes
N Yes, the image appears normal.
P No
P No, it is abnormal.
P Abnormal
P The image is abnormal.
N The image is normal.
N No abnormality.
N No significant abnormalities are seen.
P It is not normal.
P The X-ray shows abnormalities.
P The lung does not look healthy.
N Normal chest.
""",
)

AB = (
    prompt(Form.AB, POSITIVE, options=("Pneumonia", "No pneumonia")),
    PNEUMONIA,
    """
P A
P a
P A.
P A)
P (A)
P [A]
P **A**
P Option A
P Option A.
P Answer: A
P The answer is A.
P The correct answer is (A).
P Final answer: A
P A) Pneumonia
P A. Pneumonia
P A: Pneumonia
P (A) Pneumonia
P A Pneumonia
P Pneumonia
P pneumonia.
P The image shows pneumonia.
P I would choose A.
P I believe it is A.
P 1. A
P Pneumonia (A)
P A - Pneumonia
P A\\n\\nThe image shows an opacity.
P The answer is A) Pneumonia because of the opacity.
P A, because there is an opacity in the right lung.
P The image shows a consolidation.
N B
N b.
N B)
N (B)
N Option B
N It's B
N The image shows B
N It is hard to tell. I would lean towards B.
N Answer: B
N B) No pneumonia
N B. No pneumonia
N B No pneumonia
N No pneumonia
N no pneumonia.
N The image shows no pneumonia.
N The best answer is B.
N \\boxed{B}
N There is no evidence of pneumonia.
N No signs of pneumonia
N Based on the image, the correct option is B) No pneumonia.
N The lungs are clear.\\nB
H A and B
H A or B
H Both
H A/B
H A) No pneumonia
H B) Pneumonia
H Neither option is certain.
H Pneumonia cannot be excluded.
U A) Pneumonia\\nB) No pneumonia
U Yes
U No
U A chest X-ray.
U A patient
U C
C I cannot see the image.
R I can't provide a diagnosis.
""",
)

BA = (
    prompt(Form.BA, NEGATIVE, options=("No tumor", "Tumor")),
    BRAIN,
    """
N A
N A)
N (a)
N A) No tumor
N No tumor
N No tumor.
N Answer: A
P B
P B.
P B) Tumor
P Tumor
P A tumor.
P a tumor
P A tumor is visible in the left hemisphere.
P Option B
H A) Tumor
H B) No tumor
N There is no tumor.
N A normal brain.
P There is a mass in the left frontal lobe.
U A MRI scan of the head.
U Yes
""",
)

YES_NO_LETTERED = (
    prompt(Form.BA, NEGATIVE, options=("No", "Yes")),
    IDC,
    """
N A
N A) No
N No
N No.
P B
P B) Yes
P Yes
P Yes, there is.
P Answer: Yes
H A) Yes
H B) No
H Yes and no
P The tissue shows invasive ductal carcinoma.
N There is no carcinoma.
N The tissue is benign.
U Adenoma
""",
)

MALIGNANT_BENIGN = (
    prompt(Form.AB, POSITIVE, options=("Malignant", "Benign")),
    SKIN,
    """
P Malignant
P A malignant lesion
P malignant.
P The lesion is malignant.
P Melanoma
P Not benign.
N Benign
N A benign lesion.
N It is a benign nevus.
N Non-malignant
N B) Benign
N The lesion is not malignant.
H The lesion could be benign or malignant.
H Benign or malignant
H A) Benign
H Abnormality of pigment
""",
)

DESCRIBE = (
    prompt(Form.DESCRIBE, POSITIVE, "describe"),
    PNEUMONIA,
    """
P The chest X-ray shows a large consolidation in the left lower lobe. The heart is of normal size.
P There is a patchy opacity in the right middle lobe, which is consistent with pneumonia.
N The lungs are clear without focal consolidation. The heart size is normal.
N The chest X-ray is normal. No abnormalities are seen.
N There is no consolidation, effusion or pneumothorax.
H There is haziness that may represent pneumonia.
U The image shows a chest X-ray of an adult in frontal view. The ribs and the clavicles are visible.
U The heart is of normal size and the ribs are intact.
C I'm sorry, I can't see the image you are referring to.
R I'm sorry, but I can't help with that.
O white white white white white white white white white white
""",
)

BLOCKS = (EVIDENCE, FREE_OF, ABNORMAL, NORMAL, AB, BA, YES_NO_LETTERED, MALIGNANT_BENIGN, DESCRIBE)


def written() -> Iterator[Written]:
    """Every answer of the table."""
    for question, rubric, block in BLOCKS:
        for line in block.strip("\n").splitlines():
            yield Written(question, rubric, line[2:].replace("\\n", "\n"), CODES[line[0]])
