"""Public data sets: their addresses, SHA-256 digests, licences and citations."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Public:
    """Files that others publish.

    address     URL of their folder
    files       {name in that folder: SHA-256, or None if none was published}
    about       description, licence and citation, as shown to the user
    """

    address: str
    files: dict
    about: str


_LIN = """\
LIN at {} pixels ({}): fission yeast, Bgs4 in red, one polarity factor in green.
Licence: none is published. The paper's authors write: "For the license on the LIN dataset, please contact the authors
of Dodgson et al. (2017)". Ask them before you publish or share these images or images generated from them.
Cite: Dodgson et al., Reconstructing regulatory pathways by systematically mapping protein localization
interdependency networks, bioRxiv 11674, 2017; Osokin et al., GANs for biological image synthesis, ICCV 2017."""

PUBLIC = {
    "lin-48-80": Public("http://www.di.ens.fr/sierra/research/biogans", {"LIN_Normalized_WT_size-48-80.zip": None},
                        _LIN.format("48x80", "438 MB")),
    "lin-96-160": Public("http://www.di.ens.fr/sierra/research/biogans", {"LIN_Normalized_WT_size-96-160.zip": None},
                         _LIN.format("96x160", "1.3 GB")),
    "ifc": Public(
        "https://raw.githubusercontent.com/minh-doan/MLCP/4b4d93606e6b88654fc0a0697515d63102f60ee7"
        "/images/Experiment_1", {
            "G1/Ch3_CP0008.tif": "373d146c82ce923b953c64165c243bfee48562793cb8bfe170cfca96e3d05f26",
            "G1/Ch4_CP0008.tif": "1d3c32de96b4ebbbeeae98688f1025d81e29b248f30d3b1cc8147fa10b36f519",
            "G1/Ch6_CP0008.tif": "94054f1682116c6cbf4864b577f5dd8e6d3c35c9760e9623c2b2e7828b2f9e6b",
            "S_phase/Ch3_CP0009.tif": "0e9b52c6bbf4f9e6e90340112b9eacb56cac63f909cd8f4b97e91911a764d73f",
            "S_phase/Ch4_CP0009.tif": "8d8649e779e944f8d40c6e4a0d739952799a410b4242f5f47719d8b91f020178",
            "S_phase/Ch6_CP0009.tif": "66374337c59d451fca4f089fb95b4cd3d667c3adafd964c91ed442d9ad45ec42",
            "G2/Ch3_CP0008.tif": "b4040fdbf5049c2fbd37058e5eddb5472257fc6c90045ec4f840c707a934ab22",
            "G2/Ch4_CP0008.tif": "5fb64b41126ae95028c64b5e0b4b12029fb842d55ddf5042338c2c32515c1be4",
            "G2/Ch6_CP0008.tif": "5519c06824fdaa6e0bed054ee4b93a7a53b4ccd0761ef6d7da1d60974f97a6f1",
            "Prophase/Ch3_CP0001.tif": "502b80326fa58cc11169b447fd633946493dd7c8368263bd67d6b1ecae1445cd",
            "Prophase/Ch4_CP0001.tif": "667bd7b1e0af933535d78ee3d908981489ae83ab47c214ee7ac813ecf1778a6e",
            "Prophase/Ch6_CP0001.tif": "a7807c2727ce0d6b345ee5a402530e324129c810550274d576b29646dfe00e21",
            "Metaphase/Ch3_CP0001.tif": "f3929672e88443e41053383a18aa87164f472a75c107e8c7309d81a148335aa6",
            "Metaphase/Ch4_CP0001.tif": "df1f5d922c54ff593434f2ec518ca36b719686538368de23dc2fa505e3488ef4",
            "Metaphase/Ch6_CP0001.tif": "51acc1daff25785a16605aba9cf48048b714a12dd4e41aba8c461fd81457ee3a",
            "Anaphase/Ch3_CP0001.tif": "7787d8f0cd533398a18756f79a4f69cfb7b21e8ab6bfd814601b85503cf25a98",
            "Anaphase/Ch4_CP0001.tif": "6b53d036937ce353c4769f2867e8fbdb5a5dd08c323d2beb92c85468a2551a97",
            "Anaphase/Ch6_CP0001.tif": "231ee02a0b25b854380bc94a38a0d363e75aa54b8ced6cf8d3107c2bd374403e",
            "Telophase/Ch3_CP0001.tif": "48a09ef683702b48931b0a6c241b85da71ec833e4361c18865ef3ea4ee343787",
            "Telophase/Ch4_CP0001.tif": "97fc175c7cb2253a33bedcea6fdfc7d5fbf67272a0bb11b378e3e901c54e0bfc",
            "Telophase/Ch6_CP0001.tif": "1b25f04ddae9be6139803fe64261b02665d77cb8e1e9ab9b2d87bf2c80286e50"},
        "Jurkat cells from an imaging flow cytometer (61 MB): brightfield, DNA and side scatter, seven phases.\n"
        "Licence: BSD-3-Clause, github.com/minh-doan/MLCP; copies must include its text.\n"
        "Cite: Blasi et al., Label-free cell cycle analysis for high-throughput imaging flow cytometry, Nature\n"
        "Communications 7:10256, 2016; Hennig et al., Methods 112:201, 2017."),
    "mnist": Public("https://storage.googleapis.com/cvdf-datasets/mnist", {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"},
        "MNIST (12 MB): 70,000 handwritten digits of 28x28 pixels.\n"
        "Licence: CC BY-SA 3.0, Yann LeCun and Corinna Cortes: credit them, and share alike.\n"
        "Cite: LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to document recognition, Proceedings\n"
        "of the IEEE 86:2278, 1998."),
}
